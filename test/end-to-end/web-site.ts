/** Bundles pages that use `choir/web`, serves folders, and opens them in Chromium with WebGPU by SwiftShader. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { build } from 'vite'
import { findChromium, openChromiumWithGpu } from '../../bench/support/browser.ts'
import { smallModel } from '../../src/faces/browser/testing/small-training.ts'

export const inRepository = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** Files of the package, for pages that do not have it installed. */
export const entries = {
  'choir/web/worker': inRepository('dist/faces/library/web-worker.js'),
  'choir/web': inRepository('dist/faces/library/web.js'),
}

export const executable = findChromium()
if (!executable) console.info('web: skipped, no Chromium (see CHOIR_CHROMIUM)')

/** A small training, because SwiftShader computes on the processor. */
export const smallConfig = {
  model: smallModel,
  data: { tokenizer: { kind: 'bytes' } },
  train: {
    steps: 20,
    batch: 4,
    evalEvery: 10,
    evalBatches: 1,
    checkpointEvery: 5,
    schedule: { learningRate: 1e-2, warmup: 2 },
  },
} as const

export const bundle = (root: string, outDir: string) =>
  build({
    root,
    configFile: false,
    logLevel: 'error',
    resolve: { alias: entries },
    worker: { format: 'es' },
    build: { outDir, emptyOutDir: true, target: 'es2022' },
  })

const kinds: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.mjs': 'text/javascript',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
}

export interface Site {
  readonly address: string
  close(): void
}

export async function serve(folder: string): Promise<Site> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://site')
    const path = pathname === '/' ? '/index.html' : pathname
    try {
      const body = readFileSync(join(folder, path))
      response.writeHead(200, { 'content-type': kinds[extname(path)] ?? 'application/octet-stream' }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise<Server>((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => void server.close(),
  }
}

export const openBrowser = (): Promise<Browser> => openChromiumWithGpu(executable as string)
