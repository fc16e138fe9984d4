// Enlarges a picture on a click or on Enter; a click anywhere, or Escape, puts it back.
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
  if (event.key === "Enter" && event.target.matches("img.shot")) enlarge(event.target);
});
stage.addEventListener("click", () => stage.close());
