((frame) => {
  // Runs in the notebook page. All it takes from a frame is a number, and only from this one.
  const HIGHEST_PX = 10000;
  const LOOKS = ["--jp-content-font-family", "--jp-content-font-size1", "--jp-content-line-height", "--jp-code-font-family",
    ...["--jp-content-font-color", "--jp-ui-font-color", "--jp-layout-color", "--jp-border-color"]
      .flatMap((name) => [0, 1, 2, 3].map((number) => name + number))];
  let told = "";

  function tellLooks() {
    const style = getComputedStyle(frame.parentElement);
    const looks = Object.fromEntries(LOOKS.map((name) => [name, style.getPropertyValue(name)]));
    for (const name of ["color", "font-family", "font-size", "line-height"]) looks[name] = style.getPropertyValue(name);
    if (told === JSON.stringify(looks)) return;
    told = JSON.stringify(looks);
    frame.contentWindow?.postMessage(looks, "*");
  }

  const theme = new MutationObserver(tellLooks);
  theme.observe(document.body, { attributes: true });
  addEventListener("message", function resize({ source, data }) {
    if (!frame.isConnected) {
      removeEventListener("message", resize);
      theme.disconnect();
    } else if (source && source === frame.contentWindow && Number.isFinite(data)) {
      frame.style.height = `${Math.min(Math.max(Math.ceil(data), 1), HIGHEST_PX)}px`;
      tellLooks();
    }
  });
})(document.currentScript.previousElementSibling);
