// The end of a login: keep the key of this session where only pages of this server can read it, and
// go on. Cookies go to every port of this machine; what a page keeps does not.
"use strict";

localStorage.setItem("qcov-key", document.querySelector("meta[name=qcov-key]").content);
location.replace(document.getElementById("on").href);
