
"use strict";
// Only comfort lives here: the page says everything without it.
(function () {
  var form = document.querySelector("form.filter");
  var profiles = Array.prototype.slice.call(document.querySelectorAll("details.profile"));
  if (!form || profiles.length < 2) return;
  var input = form.querySelector("input");
  var output = form.querySelector("output");
  var names = profiles.map(function (profile) {
    return Array.prototype.map.call(profile.querySelectorAll(".names > li"), function (item) {
      return { item: item, name: item.textContent.toLowerCase() };
    });
  });
  function show() {
    var wanted = input.value.trim().toLowerCase();
    var hosts = 0;
    profiles.forEach(function (profile, i) {
      var here = 0;
      names[i].forEach(function (host) {
        var fits = host.name.indexOf(wanted) >= 0;
        host.item.hidden = !fits;
        here += fits ? 1 : 0;
      });
      profile.hidden = here === 0;
      hosts += here;
    });
    output.textContent = wanted ? hosts + (hosts === 1 ? " host" : " hosts") : "";
  }
  // The filter lives in the address, so that a link to it can be sent.
  function read() {
    var found = /^#hosts=(.*)$/.exec(location.hash);
    if (!found) return;
    try { input.value = decodeURIComponent(found[1]); } catch (e) { input.value = found[1]; }
    show();
    form.scrollIntoView();
  }
  input.addEventListener("input", function () {
    show();
    history.replaceState(null, "", input.value ? "#hosts=" + encodeURIComponent(input.value) : "#hosts");
  });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("hashchange", read);
  form.hidden = false;
  read();
})();
