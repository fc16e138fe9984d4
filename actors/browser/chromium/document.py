"""Script that reads a document: texts, boxes, canvas colour, title and size.

It reads the flat tree as drawn: shadow roots, slotted content, `srcdoc` frames and form values. Text of style sheets is
read by `actors.browser.chromium.pseudo_elements`.
"""

from actors.browser.chromium.scripts import TOOLS

READ = (
    "(() => {"
    + TOOLS
    + """
const MOST_BLOCKS = 3000, MOST_BOXES = 500, MOST_ELEMENTS = 10000, MOST_FRAMES = 3;
const styles = new Map(), above = new Map(), blocks = [], boxes = [];
const styleOf = element => {
  let style = styles.get(element);
  if (!style) styles.set(element, style = getComputedStyle(element));
  return style;
};
const solid = element => {  // what is left of a colour's alpha under the opacities above it
  let left = 1;
  for (; element; element = above.get(element)) left *= parseFloat(styleOf(element).opacity);
  return left;
};
const boxed = element => {  // the nearest element that has a box of its own
  while (element && styleOf(element).display === 'contents') element = above.get(element);
  return element;
};
const things = new Set(['IMG', 'SVG', 'CANVAS', 'VIDEO', 'IFRAME', 'INPUT', 'TEXTAREA', 'SELECT', 'BUTTON']);
const drawn = style => colour(style.backgroundColor)[3] > 0 || style.backgroundImage !== 'none' ||
  ['Top', 'Right', 'Bottom', 'Left'].some(side => style[`border${side}Style`] !== 'none' &&
    parseFloat(style[`border${side}Width`]) > 0 && colour(style[`border${side}Color`])[3] > 0);
const written = new Set(['text', 'search', 'email', 'tel', 'url', 'number']);
const pressed = new Set(['button', 'submit', 'reset']);
const fieldOf = element => {  // the text that a form field shows, and whether that is its placeholder
  const input = element instanceof HTMLInputElement, area = element instanceof HTMLTextAreaElement;
  if (element instanceof HTMLSelectElement) {
    const chosen = get(HTMLSelectElement, 'selectedOptions')(element)[0];
    const closed = !get(HTMLSelectElement, 'multiple')(element) && get(HTMLSelectElement, 'size')(element) <= 1;
    return [closed && chosen ? get(HTMLOptionElement, 'label')(chosen) : '', false];
  }
  if (!input && !area) return ['', false];
  const type = input ? get(HTMLInputElement, 'type')(element) : 'text';
  const field = input ? HTMLInputElement : HTMLTextAreaElement, value = get(field, 'value')(element);
  if (pressed.has(type)) return [value || {submit: 'Submit', reset: 'Reset'}[type] || '', false];
  if (!written.has(type) && type !== 'password') return ['', false];
  return value ? [type === 'password' ? '' : value, false] : [get(field, 'placeholder')(element), true];
};

const survey = (page, under, left, top, right, bottom, depth) => {
  // `left`, `top`: where the document lies on the page; `right`, `bottom`: where the frame that shows it ends.
  const body = bodyOf(page), root = rootOf(page);
  // The canvas has the colour of the root, or else of the body; whichever it is paints nothing of its own.
  const painter = [root, body].find(element => element && colour(styleOf(element).backgroundColor)[3] > 0);
  const paper = painter ? over(colour(styleOf(painter).backgroundColor), under) : under, behind = new Map();
  const background = element => {
    const path = [];
    for (; element && element !== root && element !== painter && !behind.has(element); element = above.get(element)) {
      path.push(element);
    }
    let fill = behind.get(element) || paper;
    while (path.length) behind.set(element = path.pop(), fill = over(colour(styleOf(element).backgroundColor), fill));
    return fill;
  };
  const place = box => [round(box.left + left), round(box.top + top), round(box.width), round(box.height)];
  const shown = box => box.width >= 1 && box.height >= 1 && box.right + left > 0 && box.bottom + top > 0 &&
    box.left + left < right && box.top + top < bottom;
  const write = (text, box, parent, style, alpha) => {
    const fill = background(parent), [red, green, blue, part] = colour(style.color);
    const ink = over([red, green, blue, part * alpha * solid(parent)], fill), own = styleOf(parent);
    blocks.push([text.slice(0, 500).toWellFormed(), ...place(box), ink, fill,
                 parseFloat(own.fontSize), parseInt(own.fontWeight), tagOf(parent).toLowerCase()]);
  };
  const inner = element => {  // the box within borders and padding
    const box = rectOf(element), style = styleOf(element), [above, right, below, left] =
      ['Top', 'Right', 'Bottom', 'Left'].map(side =>
        parseFloat(style[`border${side}Width`]) + parseFloat(style[`padding${side}`]));
    return new DOMRect(box.left + left, box.top + above, Math.max(0, box.width - left - right),
                       Math.max(0, box.height - above - below));
  };
  const field = element => {  // a field's text: its glyphs have no nodes, so they are measured with its font
    const [raw, hint] = fieldOf(element), text = raw.replace(/\\s+/g, ' ').trim();
    if (!text) return;
    const style = styleOf(element), room = inner(element), size = parseFloat(style.fontSize);
    brush.font = style.font;
    const long = brush.measureText(text).width, wide = Math.min(long, room.width);
    const area = element instanceof HTMLTextAreaElement, line = 1.2 * size;
    const lines = area && room.width >= 1 ? Math.ceil(long / room.width) : 1;
    const high = Math.min(room.height, line * lines), free = room.width - wide;
    const side = {center: 0.5, right: 1, end: 1}[style.textAlign] || 0;
    const box = new DOMRect(room.left + side * free, room.top + (area ? 0 : (room.height - high) / 2), wide, high);
    if (!shown(box)) return;
    const look = hint ? getComputedStyle(element, '::placeholder') : style;
    write(text, box, element, look, hint ? parseFloat(look.opacity) : 1);
  };
  const frame = element => {
    const held = get(HTMLIFrameElement, 'contentDocument')(element);
    if (!held || depth >= MOST_FRAMES || !rootOf(held)) return;
    const room = inner(element), x = room.left + left, y = room.top + top;
    above.set(rootOf(held), element);
    survey(held, background(element), x, y, Math.min(right, x + room.width), Math.min(bottom, y + room.height),
           depth + 1);
  };
  if (!body) return paper;
  const range = new Range(), valueOf = get(CharacterData, 'data');
  const silent = new Set(['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE', 'TITLE', 'TEXTAREA']);
  let elements = 0;
  for (const [node, parent] of flat(root)) {
    if (kindOf(node) === 3) {
      if (blocks.length >= MOST_BLOCKS) continue;
      const text = valueOf(node).replace(/\\s+/g, ' ').trim();
      if (!text || !parent || silent.has(tagOf(parent).toUpperCase()) || !seen(boxed(parent) || parent)) continue;
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (shown(box)) write(text, box, parent, styleOf(parent), 1);
      continue;
    }
    if (node !== root) above.set(node, parent);
    const tag = tagOf(node).toUpperCase();
    if (node === root || node === body || ++elements > MOST_ELEMENTS || !seen(node)) continue;
    if (node instanceof SVGElement ? tag !== 'SVG' : !things.has(tag) && !drawn(styleOf(node))) continue;
    const box = rectOf(node);
    if (!shown(box)) continue;
    if (boxes.length < MOST_BOXES) boxes.push([tag.toLowerCase(), ...place(box)]);
    if (blocks.length < MOST_BLOCKS) field(node);
    if (node instanceof HTMLIFrameElement) frame(node);
  }
  return paper;
};

const body = bodyOf(document), root = rootOf(document);
const paper = survey(document, [255, 255, 255], scrollX, scrollY, Infinity, Infinity, 0);
const scroll = name => Math.max(...[root, body].map(element => element ? get(Element, name)(element) : 0));
return JSON.stringify({blocks, boxes, background: paper, title: titleOf(document).slice(0, 200).toWellFormed(),
  document: [Math.max(scroll('scrollWidth'), innerWidth), Math.max(scroll('scrollHeight'), innerHeight)]});
})()"""
)
"""JSON of visible text blocks, boxes, canvas colour, title and document size."""
