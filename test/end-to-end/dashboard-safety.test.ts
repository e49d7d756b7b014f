/**
 * Safety of the dashboard: hostile files, and requests from other pages.
 *
 * @slow
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { randomFor } from '../../src/core/random.ts'
import {
  chromium,
  heatMap,
  named,
  pickRun,
  rowOf,
  showOnly,
  soon,
  stepOf,
  textOf,
  type Watching,
} from './dashboard-page.ts'
import { siteOf } from './dashboard-site.ts'
import { expectSuccess, type Workspace } from './support.ts'

const attack = '<img src=x onerror=alert(1)>'

describe.skipIf(chromium === undefined)(named('safety of the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const config = workspace.config({ model: { moe: { experts: 4, router: 'prototype', prototypes: 2 } } })
    await expectSuccess(workspace.start('train', config, '--out', 'runs/good'))
    writeHostile(workspace)
  })

  test('hostile names, fields and files are shown as text or left out, and other runs are unaffected', () =>
    site.on('', async (page) => {
      await expect.poll(() => stepOf(page, attack), soon).toBe(20)
      expect(await textOf(rowOf(page, attack))).toContain(attack)
      await expect.poll(() => stepOf(page, 'long-line'), soon).toBe(20)
      expect(await stepOf(page, 'good')).toBe(20)
      expect(await textOf(rowOf(page, 'good'))).toContain('Finished')
      expect(await rowOf(page, 'binary').count()).toBe(1)
      // Neither a linked folder nor a linked file outside is read.
      expect(await rowOf(page, 'elsewhere').count()).toBe(0)
      expect(await stepOf(page, 'linked')).toBe(0)

      await showOnly(page, attack)
      await page.getByRole('checkbox', { name: 'Show good', exact: true }).check()
      await page.getByRole('button', { name: 'Differences' }).click()
      const dialog = page.getByRole('dialog', { name: /^What differs/ })
      await dialog.getByRole('cell', { name: `${attack}.txt` }).waitFor()
      await page.goto(`${site.server.address}?page=experts`)
      await pickRun(page, attack)
      await heatMap(page).waitFor()
      await page.goto(`${site.server.address}?page=tokens`)
      await pickRun(page, attack)
      await page.getByRole('radio', { name: 'Your own' }).check()
      await page.getByLabel('Your text').fill(attack)
      await page.getByRole('button', { name: 'Route it' }).click()
      await page.getByRole('application', { name: `Text as ${attack} routes it` }).waitFor()
      expect(await page.locator('img').count()).toBe(0)
    }))

  test.each([
    '/../../../../../../../etc/passwd',
    '/%2e%2e/%2e%2e/%2e%2e/package.json',
    '/assets/..%2f..%2f..%2fpackage.json',
    '/runs/good/config.json',
    '/corpus.txt',
  ])('a path outside the page is not served: %s', async (path) => {
    const answer = await send(site.server, { path })
    expect(answer.status).toBe(404)
    expect(answer.body).not.toMatch(/root:|"dependencies"|"model"|people/)
  })

  test('another name for this machine is refused, for the page and for its requests', async () => {
    for (const path of ['/', '/api/collection', '/api/events']) {
      const answer = await send(site.server, { path, headers: { host: 'example.com' } })
      expect(answer.status).toBe(403)
      expect(answer.body).not.toContain('good')
    }
  })

  test('a POST from another page is refused', async () => {
    const headers = { 'content-type': 'application/json', origin: 'http://example.com' }
    const body = JSON.stringify({ run: 'x', text: 'x' })
    expect((await send(site.server, { path: '/api/trace', method: 'POST', headers, body })).status).toBe(403)
    const form = { 'content-type': 'text/plain' }
    expect((await send(site.server, { path: '/api/trace', method: 'POST', headers: form, body })).status).toBe(415)
  })
})

interface RequestOptions {
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Sends a request as it is: `fetch` would normalise the path and set the host. */
function send({ address }: Watching, { body, ...options }: RequestOptions): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(address)
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, ...options }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

function writeHostile(workspace: Workspace): void {
  const run = (name: string) => workspace.file('runs', name)
  const good = readFileSync(workspace.file('runs', 'good', 'metrics.jsonl'), 'utf8')

  cpSync(run('good'), run(attack), { recursive: true })
  const config = JSON.parse(readFileSync(run(`${attack}/config.json`), 'utf8'))
  config.data.source = workspace.file(`${attack}.txt`)
  cpSync(workspace.file('corpus.txt'), config.data.source)
  writeFileSync(run(`${attack}/config.json`), JSON.stringify(config))

  cpSync(run('good'), run('long-line'), { recursive: true })
  const half = good.indexOf('\n', good.length / 2) + 1
  const long = `{"kind":"train","step":7,"name":"${'x'.repeat(20_000_000)}"}\n`
  writeFileSync(run('long-line/metrics.jsonl'), good.slice(0, half) + long + good.slice(half))

  mkdirSync(run('binary'))
  const random = randomFor(1, 'binary')
  writeFileSync(
    run('binary/metrics.jsonl'),
    Uint8Array.from({ length: 100_000 }, () => random.integer(256)),
  )

  const outside = workspace.file('elsewhere')
  mkdirSync(outside)
  writeFileSync(`${outside}/metrics.jsonl`, good)
  symlinkSync(outside, run('elsewhere'))
  mkdirSync(run('linked'))
  cpSync(run('good/config.json'), run('linked/config.json'))
  symlinkSync(`${outside}/metrics.jsonl`, run('linked/metrics.jsonl'))
}
