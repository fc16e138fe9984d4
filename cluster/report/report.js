// Enlarges a picture on a click, Enter or the space bar; a click anywhere, or Escape, puts it back.
"use strict";
const stage = document.querySelector("dialog");
const enlarge = (picture) => {
  stage.querySelector("img").src = picture.src;
  stage.querySelector("p").textContent = picture.alt;
  stage.showModal();
};
document.addEventListener("click", (event) => {
  if (event.target.matches("img.shot")) enlarge(event.target);
});
document.addEventListener("keydown", (event) => {
  if (!event.target.matches("img.shot") || !["Enter", " "].includes(event.key)) return;
  event.preventDefault();
  enlarge(event.target);
});
stage.addEventListener("click", () => stage.close());
