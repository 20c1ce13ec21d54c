// Sorts, filters and opens the rows of a ledger.
"use strict";
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
