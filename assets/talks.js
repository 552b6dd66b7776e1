// Conversations in this browser's own storage, each under a key of its own, so that two tabs do not overwrite one
// another's. Handlers of pages/kept.py paste this function before their own lines; nothing of it leaves the browser
// but what those send to their own server.
const talks = (act, given) => {
  const HOME = "diptych.talk.", OPEN = "diptych.open", ID = /^[0-9a-f]{32}$/;
  const gone = (window.diptychGone ??= new Set()); // what was deleted stays so, whatever a stream still brings
  let trouble = "";
  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      trouble = error.name === "QuotaExceededError" ? "full" : "shut";
    }
  };
  const read = (id) => (ID.test(id || "") && attempt(() => localStorage.getItem(HOME + id))) || "";
  const index = () => {
    const found = [];
    attempt(() => {
      for (let at = 0; at < localStorage.length; at += 1) {
        const key = localStorage.key(at);
        if (!key.startsWith(HOME)) continue;
        try {
          const { id, title, changed } = JSON.parse(localStorage.getItem(key));
          if (HOME + id === key) found.push({ id, title: String(title), changed: Number(changed) });
        } catch {
          // something else's, or cut: it stays where it is and is not listed
        }
      }
    });
    return { talks: found.sort((a, b) => b.changed - a.changed), trouble };
  };
  const acts = {
    index: () => {},
    open: () => attempt(() => sessionStorage.setItem(OPEN, given)),
    keep: () => {
      if (!given) return;
      const { id, empty } = JSON.parse(given);
      if (!ID.test(id) || gone.has(id)) return;
      attempt(() => sessionStorage.setItem(OPEN, id));
      attempt(() => (empty ? localStorage.removeItem(HOME + id) : localStorage.setItem(HOME + id, given)));
    },
    remove: () => {
      gone.add(given);
      attempt(() => ID.test(given) && localStorage.removeItem(HOME + given));
    },
  };
  acts[act]();
  const open = act === "open" ? given : act === "index" ? attempt(() => sessionStorage.getItem(OPEN)) : "";
  return JSON.stringify({ ...index(), record: read(open), trouble: trouble });
};
