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

/** A list of choices; what is chosen goes to `chosen`. */
function choice(label, options, value, chosen, visible = true) {
  const list = element("select", { "aria-label": label, onchange: () => chosen(list.value) });
  for (const [key, text] of options) list.append(element("option", { value: key, selected: key === value }, text));
  return element("label", { class: "choice" }, visible ? element("span", { "aria-hidden": "true" }, label) : null, list);
}
