"""How a ledger's page looks beside a run's, and what makes its table sort."""

MORE = """
.better { fill: var(--right); stroke: var(--right); }
.worse { fill: var(--mark); stroke: var(--mark); }
.open { fill: var(--muted); stroke: var(--muted); }
.zero { stroke: var(--line); }
.tools { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 .6rem; }
.tools input, .tools select { font: inherit; padding: .3rem .6rem; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--right); }
.ledger td { white-space: nowrap; font-variant-numeric: tabular-nums; }
.ledger svg { vertical-align: middle; }
tr.runs > td { white-space: normal; background: var(--ground); }
summary { cursor: pointer; }
"""
SCRIPT = """
const body = document.querySelector('.ledger tbody');
const groups = () =>
  [...body.querySelectorAll('tr.row')].map(r => [r, r.nextElementSibling]);
document.querySelectorAll('.ledger th button').forEach((b, i) => b.onclick = () => {
  const up = b.dataset.up = b.dataset.up === '1' ? '' : '1';
  const of = g => g[0].cells[i].dataset.key;
  const number = x => x === '' ? -Infinity : Number(x);
  const order = (a, c) => isNaN(of(a)) || isNaN(of(c))
    ? of(a).localeCompare(of(c)) : number(of(a)) - number(of(c));
  const sorted = groups().sort(order);
  if (!up) sorted.reverse();
  sorted.forEach(g => body.append(...g));
});
const word = document.querySelector('#word');
const verdict = document.querySelector('#verdict');
word.oninput = verdict.onchange = () => groups().forEach(([row, runs]) => {
  const seen = row.textContent.toLowerCase().includes(word.value.toLowerCase())
    && (!verdict.value || row.dataset.verdict === verdict.value);
  row.hidden = !seen;
  runs.hidden = !seen || !row.classList.contains('shown');
});
body.onclick = event => {
  const row = event.target.closest('tr.row');
  if (row) row.nextElementSibling.hidden = !row.classList.toggle('shown');
};
"""
