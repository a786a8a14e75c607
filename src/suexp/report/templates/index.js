"use strict";
// Everything is on the page without this script, which only hides, opens and sorts.
const [controls, search, verdict, order, found, list, none] = [
  "controls", "search", "verdict", "order", "found", "experiments", "none",
].map(id => document.getElementById(id));
const plain = text => text.normalize("NFKC").toLowerCase();
const cards = [...list.children].map(card => ({
  card,
  text: plain(card.textContent),
  details: card.querySelector("details"),
  claims: [...card.querySelectorAll(".claims > li")].map(claim => ({claim, text: plain(claim.textContent)})),
}));

function filter() {
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  const narrowed = words.length > 0 || verdict.value !== "";
  const matches = text => words.every(word => text.includes(word));
  let shown = 0;
  for (const {card, text, details, claims} of cards) {
    const judged = claims.filter(({claim}) => !verdict.value || claim.dataset.verdict === verdict.value);
    const told = judged.filter(({text}) => matches(text));
    // Words that stand in no single claim, but in a title or the parts, narrow the claims no further.
    const open = new Set((told.length ? told : judged).map(({claim}) => claim));
    card.hidden = !matches(text) || (verdict.value !== "" && !card.dataset.verdicts.split(",").includes(verdict.value));
    shown += !card.hidden;
    for (const {claim} of claims) claim.hidden = narrowed && !open.has(claim);
    if (details) details.open = narrowed && (told.length > 0 || verdict.value !== "");
  }
  found.textContent = `${shown} of ${cards.length} experiments`;
  none.hidden = shown > 0;
}

const ascending = (a, b) => (a > b) - (a < b);
const orders = {
  date: (a, b) => ascending(b.date, a.date) || ascending(a.name, b.name),
  name: (a, b) => ascending(a.name, b.name),
  share: (a, b) => b.share - a.share || ascending(a.name, b.name),
};
function sort() {
  const compare = orders[order.value];
  list.append(...[...list.children].sort((a, b) => compare(a.dataset, b.dataset)));
}

search.addEventListener("input", filter);
verdict.addEventListener("change", filter);
order.addEventListener("change", sort);
controls.addEventListener("submit", event => event.preventDefault());
addEventListener("keydown", event => {
  if (event.key === "/" && !event.target.closest("input, select") && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    filter();
  }
});
// A browser that comes back to the page may have kept what was typed.
addEventListener("pageshow", () => { sort(); filter(); });
controls.hidden = false;
