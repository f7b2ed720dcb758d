// A button beside each piece of code. Without scripts, the code can be selected all the same.
export function offerCopies() {
  for (const code of document.querySelectorAll("pre[data-name]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button copy";
    say(button, "Copy", code);
    button.addEventListener("click", async () => {
      say(button, (await copy(code)) ? "Copied" : "Selected", code);
      setTimeout(() => say(button, "Copy", code), 2000);
    });
    code.before(button);
  }
}

function say(button, word, code) {
  button.textContent = word;
  button.setAttribute("aria-label", `${word} ${code.dataset.name}`);
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Browsers have no clipboard for pages over plain HTTP of another machine.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
