// Sorts, filters and opens the rows of a ledger.
"use strict";
(() => {
  const body = document.querySelector(".ledger tbody");
  const heads = [...document.querySelectorAll(".ledger thead th")];
  const groups = () => [...body.querySelectorAll("tr.row")].map(row => [row, row.nextElementSibling]);
  const all = groups().length;

  heads.forEach((head, i) => {
    head.firstElementChild.onclick = () => {
      const key = ([row]) => row.cells[i].dataset.key;
      const isText = groups().some(group => isNaN(key(group)));
      const was = head.ariaSort;
      const rises = was ? was === "descending" : isText; // numbers begin with the highest
      heads.forEach(other => { other.ariaSort = null; });
      head.ariaSort = rises ? "ascending" : "descending";
      const order = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === ""); // last
        const by = isText ? key(a).localeCompare(key(b)) : key(a) - key(b);
        return rises ? by : -by;
      };
      groups().sort(order).forEach(group => body.append(...group));
    };
  });

  const show = ([row, runs], isSeen) => {
    row.hidden = !isSeen;
    runs.hidden = !isSeen || row.querySelector("button").ariaExpanded !== "true";
  };
  const word = document.getElementById("word");
  const verdict = document.getElementById("verdict");
  word.oninput = verdict.onchange = () => {
    const wanted = word.value.trim().toLowerCase();
    let seen = 0;
    groups().forEach(group => {
      const isSeen = group[0].textContent.toLowerCase().includes(wanted)
        && (!verdict.value || group[0].dataset.verdict === verdict.value);
      show(group, isSeen);
      seen += isSeen;
    });
    document.getElementById("count").textContent = `${seen} of ${all} rows`;
  };
  word.oninput();
  body.onclick = event => {
    const row = event.target.closest("tr.row");
    if (!row) return;
    const button = row.querySelector("button");
    button.ariaExpanded = String(button.ariaExpanded !== "true");
    show([row, row.nextElementSibling], true);
  };
})();
