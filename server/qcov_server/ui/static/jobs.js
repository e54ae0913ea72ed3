// The dialog that resolves a job of which nobody knows whether it was submitted.
"use strict";

document.addEventListener("click", (event) => {
  const id = event.target.closest("button")?.dataset.open;
  if (id) document.getElementById(id)?.showModal();
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-resolve]");
  const how = event.submitter?.value;
  if (!form || how === "no") return;
  const jobId = new FormData(form).get("job_id").trim();
  if (how === "id" && !jobId) {
    event.preventDefault();
    return qcov.tell("Give the id that the provider has for it.", "failed");
  }
  const body = how === "never" ? { never: true } : { job_id: jobId };
  const answer = await qcov.send(form.dataset.resolve, { body });
  if (answer) {
    qcov.tell("The journal says so now.");
    qcov.renew(document.getElementById("job"));
  }
});
