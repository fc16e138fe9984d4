"""Checks of a page in a browser: contrast of its texts, its width, its names for assistive technology."""

from typing import Any

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (one) => {
    if (!one) return [255, 255, 255];
    const own = rgba(getComputedStyle(one).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, background(one.parentElement));
  };
  const found = [];
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const one of document.querySelectorAll("body *")) {
    const written = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!written || one.matches("title, script, dialog *")) continue;
    if (!one.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(one);
    const behind = background(one);
    const ink = rgba(one instanceof SVGElement ? style.fill : style.color);
    const [light, dark] = [luminance(over(ink, behind)), luminance(behind)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const kind = one.className.baseVal ?? one.className;
    if (ratio < 4.5) found.push([kind, one.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
}"""
"""Texts with a contrast below 4.5:1 (WCAG 2.2, criterion 1.4.3, without its exception for large text)."""

UNNAMED = """() => [...document.querySelectorAll("a, summary, button, [tabindex], img, progress, nav, [role=region]")]
  .filter((one) => !(one.alt || one.getAttribute("aria-label") || one.textContent.trim() || one.closest("dialog")))
  .map((one) => one.outerHTML.slice(0, 120))"""
"""Controls, pictures and regions without a name."""


OVERLAPPING = """() => [...document.querySelectorAll("main *")]
  .filter((one) => one instanceof HTMLElement && one.clientWidth && one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).overflowX === "visible" && !one.closest(".strip, .table, .charts"))
  .map((one) => one.outerHTML.slice(0, 120))"""
"""Elements with contents wider than themselves, which are drawn over their neighbours, except where these scroll."""


async def check_page(page: Any) -> None:
    """Checks the contrast of a page's texts, its names and its width."""
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(UNNAMED) == []
    await check_width(page)


async def check_width(page: Any) -> None:
    """Checks that nothing makes the page wider than the screen, and no contents leave their element."""
    assert await page.evaluate(OVERLAPPING) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
