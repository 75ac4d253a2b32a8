// A page read from disk may start no worker: the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.addEventListener("answer", (event) => {
        this.dispatchEvent(new MessageEvent("message", { data: event.detail }));
      });
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve));
      const answer = `postMessage = (data) =>
        frameElement.dispatchEvent(new CustomEvent("answer", { detail: data }))`;
      this.frame.srcdoc = `<script>${answer}<\/script><script src="${script}"><\/script>`;
      document.body.appendChild(this.frame);
    }

    postMessage(data) {
      this.ready.then(() => {
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
