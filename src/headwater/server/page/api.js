// The server's API. A key is asked for once, and kept for this tab only.

const KEY = "headwater-key";

function headers(accept) {
  const key = sessionStorage.getItem(KEY);
  return { accept, ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

export async function get(path) {
  const answer = await fetch(`/api/v1${path}`, { headers: headers("application/json") });
  if (answer.status === 401) {
    const key = prompt("This server wants an API key:");
    if (key) {
      sessionStorage.setItem(KEY, key.trim());
      return get(path);
    }
  }
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail || answer.statusText);
  return body;
}

// Follow server-sent events with fetch, because EventSource cannot send a key. Calls `tell(type, data)` for each;
// comes back after a break, from the last id on. Returns a function that ends it.
export function follow(path, tell, live) {
  const stop = new AbortController();
  let last = null;
  (async () => {
    while (!stop.signal.aborted) {
      try {
        const more = last ? { "last-event-id": last } : {};
        const answer = await fetch(`/api/v1${path}`, {
          headers: { ...headers("text/event-stream"), ...more },
          signal: stop.signal,
        });
        if (!answer.ok) throw new Error(answer.statusText);
        live(true);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          text += value;
          const blocks = text.split("\n\n");
          text = blocks.pop();
          for (const block of blocks) {
            const fields = {};
            for (const line of block.split("\n")) {
              const at = line.indexOf(":");
              if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
            }
            if (fields.data !== undefined) tell(fields.event, JSON.parse(fields.data));
            if (fields.id !== undefined) last = fields.id;
          }
        }
      } catch (error) {
        if (stop.signal.aborted) return;
      }
      live(false);
      await new Promise((done) => setTimeout(done, 1000));
    }
  })();
  return () => stop.abort();
}
