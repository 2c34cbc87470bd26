// In every page before its own program: requests to /api/ and the live socket are answered by what the test has put here.
window.rehearsal = (() => {
  const answers = new Map(Object.entries(ANSWERS));
  const failures = new Map();
  const logs = new Map();
  const sockets = new Set();
  // What was asked, as `{ asked: 'GET /session', body }`.
  const asked = [];
  // While answers are held back: what hands out each of them.
  let held = null;
  let connected = true;
  let snapshot = JSON.stringify(SNAPSHOT);

  // As an agent pages a log; a line's position is its number.
  const page = (lines, query) => {
    const [limit, from, before] = ['limit', 'from', 'before'].map((name) => query.has(name) ? Number(query.get(name)) : null);
    const [levels, holding] = [query.get('levels') ?? '', (query.get('holding') ?? '').toLowerCase()];
    const passes = (line) => (!levels || levels.includes(line.level)) && line.text.toLowerCase().includes(holding);
    const end = lines.length;
    let [start, next, found] = [from ?? 0, end, []];
    if (from !== null) {
      for (next = from; next < end && found.length < limit; next += 1) if (passes(lines[next])) found.push(lines[next]);
    } else {
      for (start = before ?? end; start > 0 && found.length < limit; start -= 1) if (passes(lines[start - 1])) found.unshift(lines[start - 1]);
    }
    return { first: 0, start, next, end, lines: found };
  };
  const answer = (what, path, query) => {
    if (failures.has(what)) return failures.get(what);
    if (logs.has(path)) return [200, page(logs.get(path), query)];
    if (answers.has(what)) return answers.get(what);
    return [404, { type: 'urn:holdfast:not-found', title: 'Not found', status: 404, detail: `Nothing is rehearsed for ${what}.` }];
  };
  const real = window.fetch;
  window.fetch = async (request, options) => {
    const url = new URL(request.url ?? request, location.href);
    if (!url.pathname.startsWith('/api/v1/')) return real(request, options);
    const path = url.pathname.slice('/api/v1'.length);
    const what = `${request.method} ${path}`;
    asked.push({ asked: what + url.search, body: await request.text() });
    // What is answered is what was true when it was asked, however long it takes.
    const [status, body] = answer(what, path, url.searchParams);
    const made = () => new Response(status === 204 ? null : JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
    if (held) await new Promise((release) => held.push(release));
    return made();
  };
  window.WebSocket = class extends EventTarget {
    constructor(url) {
      super();
      Object.assign(this, { url, readyState: 0, binaryType: 'blob', bufferedAmount: 0, extensions: '', protocol: '' });
      setTimeout(() => {
        if (!connected) return this.end(1006);
        this.readyState = 1;
        sockets.add(this);
        this.dispatchEvent(new Event('open'));
        this.tell();
      });
    }
    tell() { this.dispatchEvent(new MessageEvent('message', { data: snapshot })); }
    end(code) {
      if (this.readyState === 3) return;
      sockets.delete(this);
      this.readyState = 3;
      this.dispatchEvent(new CloseEvent('close', { code, wasClean: code === 1000 }));
    }
    send() {}
    close() { this.end(1000); }
  };
  return {
    asked,
    // Answers `what`, such as `GET /session`, with this status and body from now on.
    answer: (what, status, body) => answers.set(what, [status, body]),
    // Answers `what` so whatever else it would be, until it is mended.
    fail: (what, status, body) => { failures.set(what, [status, body]); },
    mend: (what) => { failures.delete(what); },
    // The log at `path` gets `count` more lines; `text` has `#` where a line's number goes.
    lengthen: (path, count, text, level = '') => {
      const lines = logs.get(path) ?? [];
      for (let more = 0; more < count; more += 1) {
        lines.push({ at: lines.length, unix_ms: 1764000000000 + lines.length, level, text: text.replace('#', lines.length) });
      }
      logs.set(path, lines);
    },
    // Sends this snapshot, and again to whoever connects.
    tell: (next) => { snapshot = typeof next === 'string' ? next : JSON.stringify(next); for (const socket of sockets) socket.tell(); },
    // The server goes away, or comes back.
    connect: (on) => { connected = on; if (!on) for (const socket of [...sockets]) socket.end(1006); },
    // Holds all answers back; their number so far.
    hold: () => { held ??= []; },
    waiting: () => held?.length ?? 0,
    // Hands out the answers held back, the last ones first if `backwards`, and holds no more.
    release: (backwards = false) => {
      const all = held ?? [];
      held = null;
      for (const one of backwards ? all.reverse() : all) one();
      return all.length;
    },
  };
})();
