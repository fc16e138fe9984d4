
// Sends a brief, shows the text and the versions as they arrive, and the last version in a sandbox.
{
  const $ = (id) => document.getElementById(id);
  const MAX_TEXT = 200000;
  let running = null;
  let page = null; // source of the last version
  let brief = ""; // all briefs of the page so far

  const say = (words, bad = false) => {
    $("status").textContent = words;
    $("status").classList.toggle("bad", bad);
  };

  const preview = () => {
    const old = $("frame");
    const frame = old.cloneNode();
    frame.src = "/preview";
    frame.addEventListener("load", () => frame.contentWindow.postMessage(page, "*"), { once: true });
    old.replaceWith(frame);
  };

  const download = () => {
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  };

  const parsed = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  };

  const handlers = {
    text: ({ kind, text, restart }) => {
      const box = $("text");
      const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 40;
      if (restart) {
        box.textContent = "";
        say(kind === "review" ? "reviewing the page …" : "writing …");
      }
      box.append(text);
      if (box.textContent.length > MAX_TEXT) box.textContent = box.textContent.slice(-MAX_TEXT / 2);
      if (atEnd) box.scrollTop = box.scrollHeight;
    },
    draft: (draft) => {
      $("versions").hidden = false;
      $("drafts").append(parsed(draft.card));
      $("drafts").scrollLeft = $("drafts").scrollWidth;
      if (draft.html === null || (draft.html === page && !draft.kept)) return;
      page = draft.html;
      $("trial").hidden = false;
      preview();
      download();
    },
    error: ({ error }) => say(error.message, true),
    done: () => say("finished"),
  };

  // Events of a stream: blocks of `name: value` lines, separated by an empty line.
  const events = async function* (body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = new Map(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
        yield [fields.get("event"), JSON.parse(fields.get("data"))];
      }
    }
  };

  const busy = (on) => {
    for (const button of document.querySelectorAll("form button[type=submit]")) button.disabled = on;
    $("stop").disabled = !on;
  };

  const ask = async (body) => {
    running = new AbortController();
    busy(true);
    $("text").textContent = "";
    $("drafts").replaceChildren();
    $("writing").hidden = false;
    say("waiting for the policy …");
    const headers = { "Content-Type": "application/json" };
    if ($("key")) headers.Authorization = `Bearer ${$("key").value}`;
    let last = "";
    try {
      const answer = await fetch("/write", { method: "POST", headers, body: JSON.stringify(body), signal: running.signal });
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      for await (const [kind, data] of events(answer.body)) {
        last = kind;
        handlers[kind](data);
      }
      if (last !== "done" && last !== "error") throw new Error("the server ended before the page was finished");
    } catch (error) {
      if (error.name === "AbortError") say("stopped");
      else say(error instanceof TypeError ? "the server does not answer" : error.message, true);
    }
    busy(false);
  };

  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    brief = $("brief").value;
    page = null;
    $("trial").hidden = true;
    ask({ brief, rounds: Number($("rounds").value) });
  });

  $("again").addEventListener("submit", (event) => {
    event.preventDefault();
    const change = { html: page, brief: $("change").value };
    ask({ brief, rounds: Number($("rounds").value), change });
    brief = `${brief}\n${change.brief}`;
    $("change").value = "";
  });

  $("stop").addEventListener("click", () => running.abort());
  $("restart").addEventListener("click", preview);
  for (const one of document.querySelectorAll("[name=size]")) {
    one.addEventListener("change", () => document.querySelector(".screen-frame").classList.toggle("phone", one.value === "phone" && one.checked));
  }
  for (const one of document.querySelectorAll("textarea")) {
    one.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) one.form.requestSubmit();
    });
  }
}
