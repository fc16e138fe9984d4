"""Script of the locator chains of `ProbeStep.locator`: `css=#list >> role=button "Add" >> nth=0`.

Each part selects from the elements of the part before it, in document order without repetitions. Open shadow roots and,
after `frame=`, documents of the same origin are searched too.
"""

CHAIN = r"""
const pierced = scope => {  // the scope, and the open shadow roots below it
  const scopes = [scope];
  for (const one of scope.querySelectorAll('*')) if (rootOfShadow(one)) scopes.push(...pierced(rootOfShadow(one)));
  return rootOfShadow(scope instanceof Element ? scope : document.documentElement) && scope instanceof Element
    ? [...scopes, ...pierced(rootOfShadow(scope))] : scopes;
};
const below = (scope, selector) => pierced(scope).flatMap(one => [...one.querySelectorAll(selector)]);
const whole = one => {  // text content, with open shadow roots, without scripts
  if (one instanceof HTMLInputElement && /^(button|submit)$/.test(one.type)) return one.value;
  let text = '';
  for (let node = firstOf(one); node; node = nextOf(node)) {
    if (kindOf(node) === 3) text += node.data;
    if (kindOf(node) === 1 && !/^(SCRIPT|STYLE|NOSCRIPT)$/.test(tagOf(node))) text += whole(node);
  }
  return rootOfShadow(one) ? text + whole(rootOfShadow(one)) : text;
};
const suits = (text, wanted) => {
  const pattern = expression(wanted), quoted = /^"(.*)"$/s.exec(wanted);
  if (pattern) return pattern.test(text);
  if (quoted) return spaced(text) === spaced(JSON.parse(wanted));
  return spaced(text).toLowerCase().includes(spaced(wanted).toLowerCase());
};
const innermost = hits => hits.filter(one => !hits.some(other => other !== one && one.contains(other)));
const roleOf = one => (attribute(one, 'role') || '').trim().split(/\s+/)[0]
  || Object.keys(roles).find(role => one.matches(roles[role])) || '';
const withAttribute = (scope, name, text) =>
  below(scope, `[${name}]`).filter(one => suits(attribute(one, name), text));
const finders = {
  css: (scope, body) => below(scope, body),
  frame: (scope, body) => below(scope, body).map(one => one.contentDocument).filter(Boolean),
  text: (scope, body) => innermost(below(scope, '*').filter(one =>
    !/^(SCRIPT|STYLE|NOSCRIPT|HEAD|TITLE)$/.test(tagOf(one)) && suits(whole(one), body))),
  label: (scope, body) => below(scope, '*').filter(one => {
    const named = one.getAttribute('aria-labelledby'), home = one.getRootNode();
    const texts = named ? named.split(/\s+/).map(id => home.getElementById(id)).filter(Boolean).map(whole)
      : [attribute(one, 'aria-label'), ...(one.labels ? [...one.labels].map(whole) : [])];
    return texts.some(text => text && suits(text, body));
  }),
  role: (scope, body) => {
    const [, role, name] = /^(\S+)\s*(.*)$/s.exec(body);
    return below(scope, '*').filter(one => roleOf(one) === role && visible(one, {visibilityProperty: true})
      && (!name || suits(nameOf(one), name)));
  },
  placeholder: (scope, body) => withAttribute(scope, 'placeholder', body),
  title: (scope, body) => withAttribute(scope, 'title', body),
  alt: (scope, body) => withAttribute(scope, 'alt', body),
  test_id: (scope, body) => below(scope, '[data-testid]').filter(one => attribute(one, 'data-testid') === body),
};
const sieves = {
  nth: (found, body) => found.slice(+body, +body === -1 ? undefined : +body + 1),
  has_text: (found, body) => found.filter(one => suits(whole(one), body)),
  has_not_text: (found, body) => found.filter(one => !suits(whole(one), body)),
  visible: (found, body) => found.filter(one => drawn(one) === (body === 'true')),
  parent: found => [...new Set(found.map(parentOf).filter(Boolean))],
};
const chain = text => {
  let found = [document];
  for (const part of text.split(' >> ')) {
    const [, engine, body] = /^([a-z_]+)=(.*)$/s.exec(part) || [];
    if (engine in sieves) found = sieves[engine](found, body);
    else if (engine in finders) found = [...new Set(found.flatMap(scope => finders[engine](scope, body)))];
    else throw new Error(`${part} is not a part of a locator`);
  }
  return found;
};
"""
"""Defines `chain(text)`, the found elements, and `whole(element)`; needs the tools of `scripts.TOOLS`, `roles`,
`spaced`, `expression`, `nameOf` and `drawn`."""
