// The service's events, as they come. The browser connects again by itself and says where it was.

const KINDS = [
  "submitted", "started", "done", "not_reportable", "failed", "cancelled", "withdrawn", "released", "alarm", "watch",
];

let source = null;
const listeners = new Set();
const standings = new Set();
let live = false;

function stand(now) {
  live = now;
  for (const told of standings) told(live);
}

/** Begin to listen; nothing happens if it does already. */
export function startLive() {
  if (source) return;
  source = new EventSource("/v1/events");
  for (const kind of KINDS) {
    source.addEventListener(kind, (message) => {
      const event = JSON.parse(message.data);
      for (const listener of listeners) listener(event);
    });
  }
  source.addEventListener("open", () => {
    stand(true);
    for (const listener of listeners) listener(null); // what came while nobody listened is asked for
  });
  source.addEventListener("error", () => {
    stand(false);
    if (source && source.readyState === EventSource.CLOSED) {
      stopLive();
      setTimeout(startLive, 5000);
    }
  });
}

/** End it. */
export function stopLive() {
  if (source) source.close();
  source = null;
  stand(false);
}

/** Be told of each event, and with null after each new connection; returns what ends it. */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Be told whether events come; returns what ends it. */
export function onStanding(told) {
  standings.add(told);
  told(live);
  return () => standings.delete(told);
}

/** Call something soon, but not more often than each `ms`. */
export function throttled(call, ms) {
  let last = 0;
  let timer = null;
  const run = () => {
    timer = null;
    last = Date.now();
    call();
  };
  const ask = () => {
    if (timer === null) timer = setTimeout(run, Math.max(last + ms - Date.now(), 50));
  };
  ask.stop = () => {
    clearTimeout(timer);
    timer = null;
  };
  return ask;
}
