// Where pages lie on a disk a browser refuses workers, and the search is one: a hidden frame
// takes the worker's place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><title>Search</title>";
      this.ready = new Promise((resolve) => {
        frame.onload = () => {
          const inner = frame.contentWindow;
          inner.postMessage = (data) => this.tell(this, data);
          const script = inner.document.createElement("script");
          script.onload = () => resolve(inner);
          script.src = url;
          inner.document.head.append(script);
        };
      });
      document.body.append(frame);
    }

    tell(whom, data) {
      whom.dispatchEvent(new MessageEvent("message", { data }));
    }

    postMessage(data) {
      this.ready.then((inner) => this.tell(inner, data));
    }
  };
}
