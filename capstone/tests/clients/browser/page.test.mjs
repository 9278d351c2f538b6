// The page at `/` in headless Chromium, against a running server:
//
//   npm ci && node page.test.mjs http://127.0.0.1:8000
//
// SCREENSHOTS names a folder for pictures of what it saw.
import assert from "node:assert/strict";
import path from "node:path";
import { chromium } from "playwright-core";

const url = process.argv[2] ?? "http://127.0.0.1:8000";
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
let passed = 0;
let failed = 0;

/** Runs one test in a page of its own; anything on the console's error channel fails it. */
async function test(name, options, body) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  try {
    await page.goto(url);
    await body(page, errors);
    assert.deepEqual(errors, []);
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${error.stack ?? error}`);
  }
  if (process.env.SCREENSHOTS) {
    await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name.replaceAll(/\W+/g, "-")}.png`) });
  }
  await context.close();
}

const answer = (page) => page.locator(".turn.assistant .text").last();
const desktop = { viewport: { width: 1100, height: 800 } };
const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

async function ask(page, text) {
  await page.fill("#prompt", text);
  await page.press("#prompt", "Enter");
}

async function metric(name) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(text.match(new RegExp(`^${name} (\\S+)`, "m"))[1]);
}

async function until(what, condition, milliseconds = 10_000) {
  const deadline = Date.now() + milliseconds;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `${what} did not come to pass`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Answers that would end early go on, so that there is time to look and to stop. */
async function keepGoing(page) {
  await page.route("**/v1/completions", (route) =>
    route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ignore_eos: true, max_tokens: 900 }) }));
  await page.selectOption("#mode", "continue");
}

await test("a question is answered", desktop, async (page) => {
  await ask(page, "What does `std::vec::Vec::push` do?");
  await page.locator("#send").waitFor({ state: "visible" });
  assert.equal(await answer(page).innerText(), "Appends an element to the back of a collection.");
  assert.match(await page.locator("#ttft").innerText(), /^\d+ ms$/);
  assert.match(await page.locator("#rate").innerText(), /^\d+\.\d$/);
  await until("the count of blocks", async () => /^0 of \d+$/.test(await page.locator("#kv").innerText()));
  await ask(page, "What does `std::vec::Vec::fly` do?");
  await page.locator("#send").waitFor({ state: "visible" });
  assert.equal(await page.locator(".turn").count(), 4);
  await page.click("#new");
  assert.equal(await page.locator(".turn").count(), 0);
});

await test("an answer streams and can be stopped", desktop, async (page) => {
  await keepGoing(page);
  await ask(page, "Ownership is");
  const lengths = new Set();
  await until("a growing answer", async () => {
    lengths.add((await answer(page).innerText()).length);
    return lengths.size > 3;
  });
  assert.ok((await metric("fastserve_kv_blocks_in_use")) > 0);
  await page.click("#stop");
  await page.locator("#send").waitFor({ state: "visible" });
  const stopped = await answer(page).innerText();
  await until("free blocks", async () => (await metric("fastserve_kv_blocks_in_use")) === 0);
  assert.equal(await answer(page).innerText(), stopped);
  assert.equal(await page.locator(".turn .note").innerText(), "Stopped.");
});

await test("an error is shown", desktop, async (page, errors) => {
  await page.route("**/v1/chat/completions", (route) => route.fulfill({
    status: 429,
    json: { error: { message: "the queue is full", type: "rate_limit_error", param: null, code: "queue_full" } },
  }));
  await ask(page, "Anyone there?");
  assert.match(await page.locator("[role=alert]").innerText(), /the queue is full[^]*HTTP 429/);
  errors.length = 0; // the browser itself notes the 429 it was given
});

await test("what a model writes cannot become markup", desktop, async (page) => {
  const text = "<img src=x onerror=alert(1)> and `<b>code</b>`";
  const event = { choices: [{ delta: { content: text }, finish_reason: "stop" }] };
  await page.route("**/v1/chat/completions", (route) => route.fulfill({
    contentType: "text/event-stream", body: `data: ${JSON.stringify(event)}\n\ndata: [DONE]\n\n`,
  }));
  await ask(page, "Be evil.");
  await page.locator("#send").waitFor({ state: "visible" });
  assert.equal(await answer(page).locator("img, b").count(), 0);
  assert.match(await answer(page).innerText(), /<img src=x/);
});

for (const [name, options] of [["phone", phone], ["phone in the dark", { ...phone, colorScheme: "dark" }],
  ["desktop in the dark", { ...desktop, colorScheme: "dark" }]]) {
  await test(`it fits a ${name}`, options, async (page) => {
    await ask(page, "What does `std::mem::swap` do?");
    await page.locator("#send").waitFor({ state: "visible" });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide`);
    const [ink, paper] = await page.evaluate(() => {
      const style = getComputedStyle(document.body);
      return [style.color, style.backgroundColor].map((c) => c.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0));
    });
    assert.equal(ink > paper, options.colorScheme === "dark", "light ink on dark paper, or the other way round");
  });
}

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
