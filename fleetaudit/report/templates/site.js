// Adds how long ago each last run was. Without the script the time itself is there.
const DAY = 86400000;

function age(milliseconds) {
  const hours = Math.floor(milliseconds / 3600000);
  if (hours < 1) return "less than an hour ago";
  if (hours < 48) return hours + (hours === 1 ? " hour ago" : " hours ago");
  return Math.floor(milliseconds / DAY) + " days ago";
}

for (const place of document.querySelectorAll(".age")) {
  const then = Date.parse(place.previousElementSibling.dateTime);
  const passed = Date.now() - then;
  // Nothing is shown for a time in the future (the clock is behind) or one that cannot be read.
  if (passed >= 0) place.textContent = " (" + age(passed) + ")";
}
