/** Time that passes only while somebody sees the page. */

/** Resolves after so many milliseconds, and once the page is visible; rejects on abort. */
export async function pause(milliseconds, signal) {
  await event(signal, (done) => {
    const timer = setTimeout(done, milliseconds);
    return () => clearTimeout(timer);
  });
  if (!document.hidden) return;
  await event(signal, (done) => {
    const look = () => !document.hidden && done();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  });
}

/** Waits for what `begin(done)` begins; it gives the function that puts an end to it. */
function event(signal, begin) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => finish(() => reject(signal.reason));
    const end = begin(() => finish(resolve));
    function finish(settle) {
      end();
      signal.removeEventListener("abort", abort);
      settle();
    }
    signal.addEventListener("abort", abort);
  });
}
