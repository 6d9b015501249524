// The status page as a person sees it, in a real Chromium.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../../', import.meta.url));
const program = process.env.DBTASK_EXPORTER_BIN ?? `${root}target/debug/dbtask-exporter`;
const shots = `${root}target/screenshots`;
const children = [];
let browser, busy, empty;

// Starts the demo on a free port and waits until every source has been tried.
async function demo(scenario) {
  const child = spawn(program,
    ['demo', '--web.listen-address=127.0.0.1:0', `--scenario=${root}tests/browser/${scenario}`],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let text = '';
  for await (const part of child.stdout) {
    text += part;
    if (text.includes('Ctrl-C')) break;
  }
  const url = text.match(/http:\/\/localhost:\d+\//)[0].replace('localhost', '127.0.0.1');
  const deadline = Date.now() + 60_000;
  for (;;) {
    const ready = await fetch(`${url}-/ready`);
    const failed = await (await fetch(`${url}api/v1/tasks?state=failed`)).json();
    if (ready.ok && (scenario === 'empty.yml' || failed.tasks.length > 0)) return url;
    assert.ok(Date.now() < deadline, 'not ready in a minute');
    await new Promise((done) => setTimeout(done, 200));
  }
}

// Opens a page; what breaks the policy or runs a script is noted.
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.noted = [];
  page.on('console', (message) => page.noted.push(message.text()));
  page.on('dialog', (dialog) => { page.noted.push(dialog.message()); dialog.dismiss(); });
  await page.goto(url);
  return page;
}

before(async () => {
  mkdirSync(shots, { recursive: true });
  [busy, empty] = await Promise.all([demo('scenario.yml'), demo('empty.yml')]);
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  for (const child of children) child.kill();
});

for (const [name, path] of [['busy', '?refresh=off'], ['filtered', '?state=failed&refresh=off'],
  ['nothing-found', '?q=nothing&refresh=off'], ['empty', null]]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [390, 1280]) {
      test(`axe finds nothing wrong: ${name}, ${colorScheme}, ${width}`, async () => {
        const url = path === null ? `${empty}?refresh=off` : busy + path;
        const page = await open(url, { colorScheme, viewport: { width, height: 900 } });
        await page.screenshot({ path: `${shots}/${name}-${colorScheme}-${width}.png` });
        const wide = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
        assert.equal(wide, false, 'wider than the screen');
        assert.deepEqual(page.noted, []);
        // The policy keeps scripts off the page; the debugger may still run one.
        await page.evaluate(axe.source);
        const { violations } = await page.evaluate('axe.run()');
        assert.deepEqual(violations.map((it) => [it.id, it.nodes.map((node) => node.html)]), []);
        await page.context().close();
      });
    }
  }
}

test('hostile names and failure texts are shown as text', async () => {
  const page = await open(`${busy}?q=101&refresh=off`);
  const text = await page.locator('#tasks').innerText();
  assert.ok(text.includes('"><img src=x onerror=alert(1)>'), text);
  assert.ok(text.includes('</p><script>alert(1)</script>'), text);
  assert.equal(await page.locator('img, script').count(), 0);
  assert.deepEqual(page.noted, []);
  await page.context().close();
});

test('what is wrong is seen first, with the way to it', async () => {
  const page = await open(`${busy}?refresh=off`);
  assert.match(await page.title(), /^1 failed, 1 source down · /);
  assert.match(await page.locator('.notice').innerText(), /Not up to date:.*mysql-down/s);
  assert.match(await page.locator('#sources').innerText(), /The cloud has trouble of its own/);
  assert.match(await page.locator('#tasks tbody').first().innerText(), /failed/);
  await page.context().close();
});

test('without a script, by keyboard alone, the form filters and details open', async () => {
  const page = await open(`${busy}?refresh=off`, { javaScriptEnabled: false });
  await page.keyboard.press('Tab');
  assert.equal(await page.locator(':focus').innerText(), 'Skip to the tasks');
  await page.locator('input[name=q]').focus();
  await page.keyboard.type('upgrade');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=upgrade/);
  assert.equal(await page.locator('#tasks tbody').count(), 1);
  assert.match(await page.locator('#tasks details').innerText(), /In the vendor's words/);
  await page.locator('summary').focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#tasks details[open]').count(), 0);
  await page.locator('.clear').click();
  assert.equal(await page.locator('#tasks tbody').count(), 3);
  await page.context().close();
});

test('a refresh keeps the filter', async () => {
  const page = await open(`${busy}?state=failed&q=101`);
  const first = await page.locator('header').innerText();
  await page.waitForFunction((old) => document.querySelector('header').innerText !== old, first,
    { timeout: 60_000 }).catch(async () => page.waitForLoadState());
  assert.notEqual(await page.locator('header').innerText(), first);
  assert.match(page.url(), /\?state=failed&q=101$/);
  assert.equal(await page.locator('#tasks tbody').count(), 1);
  await page.context().close();
});
