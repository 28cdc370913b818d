// The parallel page: fires a volley of requests at one session and counts what arrived.

const volley = document.getElementById("volley");
const fireForm = document.getElementById("fire");
const fireButton = fireForm.querySelector("button");
const countInput = fireForm.elements.requests;
const origins = JSON.parse(document.getElementById("origins").textContent);
const verdict = document.getElementById("verdict");
const findings = document.getElementById("findings");
const timeline = document.getElementById("timeline");

function show(id, text) {
  document.getElementById(id).textContent = text;
}

async function call(url, options = {}) {
  const response = await fetch(url, {
    credentials: "include",
    cache: "no-store",
    headers: { Accept: "application/json" },
    ...options,
  });
  if (!response.ok) {
    throw new Error(`${url} answered ${response.status}`);
  }
  return response.json();
}

function post(url, fields = {}) {
  // A form body needs no CORS preflight, a custom header for the token would.
  const token = fireForm.elements.csrfmiddlewaretoken.value;
  return call(url, {
    method: "POST",
    body: new URLSearchParams({ ...fields, csrfmiddlewaretoken: token }),
  });
}

async function sendMark(number) {
  const index = (number - 1) % origins.length;
  const request = { number, process: index + 1, port: origins[index].port, began: performance.now() };
  try {
    const answer = await post(origins[index].origin + volley.dataset.markUrl, { number });
    request.seen = answer.seen;
  } catch (error) {
    request.error = error.message;
  }
  request.ended = performance.now();
  return request;
}

async function readMarks() {
  const boards = await Promise.all(
    origins.map((item) => call(item.origin + volley.dataset.marksUrl)),
  );
  return boards.map((board) => new Set(board.marks));
}

function draw(requests, boards) {
  const start = Math.min(...requests.map((request) => request.began));
  const span = Math.max(...requests.map((request) => request.ended)) - start;
  timeline.replaceChildren(
    ...requests.map((request) => {
      const row = document.createElement("li");
      const bar = document.createElement("span");
      bar.className = `bar process-${request.process}`;
      bar.style.marginInlineStart = `${(100 * (request.began - start)) / span}%`;
      bar.style.inlineSize = `${(100 * (request.ended - request.began)) / span}%`;
      const kept = boards.every((board) => board.has(request.number));
      const label = document.createElement("span");
      label.className = "bar-label";
      const fate = request.error ? "failed" : kept ? "kept" : "lost";
      row.className = fate;
      const took = Math.round(request.ended - request.began);
      label.textContent = `${request.number} ${fate}`;
      row.title = request.error ?? `Port ${request.port}, ${took} ms, found ${request.seen} others`;
      row.append(label, bar);
      return row;
    }),
  );
}

function report(requests, boards) {
  const acknowledged = requests.filter((request) => !request.error);
  const failed = requests.length - acknowledged.length;
  // A key counts as kept only if every web process sees it.
  const kept = acknowledged.filter(({ number }) => boards.every((board) => board.has(number)));
  const lost = acknowledged.length - kept.length;
  const mostSeen = Math.max(-1, ...acknowledged.map((request) => request.seen));

  show("acknowledged", acknowledged.length);
  show("kept", kept.length);
  show("lost", lost);
  show("whole", Math.max(0, acknowledged.length - mostSeen - 1));
  show("stored", `In the session now: ${boards[0].size} keys of this volley.`);
  verdict.classList.toggle("bad", lost > 0 || failed > 0);
  verdict.textContent =
    lost > 0
      ? `${lost} of ${acknowledged.length} updates are lost.`
      : failed > 0
        ? `${failed} of ${requests.length} requests failed; what was acknowledged is all there.`
        : `All ${requests.length} updates are there. None was lost.`;
}

async function fire() {
  document.getElementById("outcome").hidden = false;
  verdict.classList.remove("bad");
  verdict.textContent = "Firing…";
  findings.hidden = true;
  await post(volley.dataset.openUrl);
  const numbers = Array.from({ length: countInput.valueAsNumber }, (_, index) => index + 1);
  const requests = await Promise.all(numbers.map(sendMark));
  const boards = await readMarks();
  findings.hidden = false;
  draw(requests, boards);
  report(requests, boards);
}

fireForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  // Not disabled: a disabled button would drop the keyboard focus.
  if (fireButton.getAttribute("aria-disabled") === "true") {
    return;
  }
  fireButton.setAttribute("aria-disabled", "true");
  try {
    await fire();
  } catch (error) {
    verdict.classList.add("bad");
    verdict.textContent = `That did not work: ${error.message}. Reload the page and try again.`;
  } finally {
    fireButton.removeAttribute("aria-disabled");
  }
});

countInput.disabled = false;
fireButton.disabled = false;
