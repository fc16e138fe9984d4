
// Keeps the page current: every two seconds, asks for the digests of each run's parts and replaces the changed ones.
// Scroll positions, unfolded details and the keyboard focus stay.
{
  const EVERY_MS = 2000;
  const FOCUSABLE = "a, summary, [tabindex]";
  const link = document.getElementById("link");

  const say = (words) => {
    if (link.textContent !== words) link.textContent = words;
  };

  // Positions are noted by the order of elements of a kind, which a new version of the same part keeps.
  const note = (old) => ({
    open: [...old.querySelectorAll("details")].map((one) => one.open),
    scrolled: [...old.querySelectorAll("*")]
      .filter((one) => one.scrollLeft || one.scrollTop)
      .map((one) => [one.className, [...old.getElementsByClassName(one.className)].indexOf(one), one.scrollLeft, one.scrollTop]),
    focus: [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement),
  });

  const restore = (fresh, noted) => {
    fresh.querySelectorAll("details").forEach((one, place) => {
      if (place in noted.open) one.open = noted.open[place];
    });
    for (const [kind, place, left, top] of noted.scrolled) {
      fresh.getElementsByClassName(kind)[place]?.scrollTo({ left, top, behavior: "instant" });
    }
    if (noted.focus >= 0) fresh.querySelectorAll(FOCUSABLE)[noted.focus]?.focus({ preventScroll: true });
  };

  const parsed = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  };

  const get = async (path, query) => {
    const answer = await fetch(`${path}?${query}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  };

  const update = async (run) => {
    const path = run.dataset.run;
    const query = new URLSearchParams(location.search);
    const wanted = await (await get(`${path}digests`, query)).json();
    const present = new Map([...run.children].map((one) => [one.dataset.name, one]));
    const changed = wanted.filter(([name, digest]) => present.get(name)?.dataset.digest !== digest);
    const fresh = new Map();
    for (const [name] of changed) {
      const item = new URLSearchParams(query);
      item.set("item", name);
      fresh.set(name, parsed(await (await get(`${path}item`, item)).text()));
    }
    place(run, wanted.map(([name]) => name), present, fresh);
  };

  const place = (run, names, present, fresh) => {
    // The first part on the screen stays where it is; at the top of the page, new parts push the others down.
    const anchor = scrollY > 0 && [...run.children].find((one) => one.getBoundingClientRect().bottom > 0);
    const before = anchor ? anchor.getBoundingClientRect().top : 0;
    let next = run.firstElementChild;
    for (const name of names) {
      const old = present.get(name);
      const one = fresh.get(name) ?? old;
      if (one && one !== old && old) {
        const noted = note(old);
        if (old === next) next = next.nextElementSibling;
        old.replaceWith(one);
        restore(one, noted);
      }
      if (!one) continue;
      if (one === next) next = next.nextElementSibling;
      else if (one.nextElementSibling !== next || one.parentElement !== run) run.insertBefore(one, next);
    }
    const kept = new Set(names);
    for (const one of [...run.children]) if (!kept.has(one.dataset.name)) one.remove();
    const still = anchor && [...run.children].find((one) => one.dataset.name === anchor.dataset.name);
    if (still) scrollBy({ top: still.getBoundingClientRect().top - before, behavior: "instant" });
  };

  const watch = async () => {
    if (!document.hidden) {
      try {
        for (const run of document.querySelectorAll("[data-run]")) await update(run);
        say("");
      } catch (error) {
        say(error instanceof TypeError ? "The server of this page does not answer: it was stopped." : error.message);
      }
    }
    setTimeout(watch, EVERY_MS);
  };
  setTimeout(watch, EVERY_MS);
}
