// Elements are made here and nowhere else: text only ever becomes text.

/** An element; attributes that are null are left out, functions are listeners (onclick), children are nodes or text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);

function replaced(id, ...children) {
  byId(id).replaceChildren(...children.filter((child) => child !== null));
}

/** Make what is in `place` anew; what has the focus in it keeps it, by its label, or hands it to what is there. */
function withFocus(place, make) {
  const label = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  make();
  if (label === null) return;
  const able = [...place.querySelectorAll("button:enabled, select")];
  const again = able.find((each) => each.getAttribute("aria-label") === label) ?? able[0];
  if (again) again.focus();
}

/** A list of choices; what is chosen goes to `chosen`. */
function choice(label, options, value, chosen, visible = true) {
  const list = element("select", { "aria-label": label, onchange: () => chosen(list.value) });
  for (const [key, text] of options) list.append(element("option", { value: key, selected: key === value }, text));
  return element("label", { class: "choice" }, visible ? element("span", { "aria-hidden": "true" }, label) : null, list);
}

/** A menu that lies over the page closes with Escape, and when somebody goes on elsewhere. */
function prepareMenus() {
  const open = () => document.querySelectorAll("details.menu[open]");
  document.addEventListener("pointerdown", (event) => { for (const menu of open()) if (!menu.contains(event.target)) menu.open = false; });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of open()) {
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    }
  });
}
