#!/usr/bin/env node
// This file has only syntax that old Node versions can run, so that it can report that they are too old.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const [major, minor] = process.versions.node.split('.').map(Number)
const main = new URL('../dist/faces/cli/program/process.js', import.meta.url)

if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`choir: Node ${process.versions.node} is too old (expected 20.19 or later; see https://nodejs.org)`)
  process.exitCode = 1
} else if (!existsSync(main)) {
  console.error('choir: not built yet (run: npm run build)')
  process.exitCode = 1
} else {
  if (existsSync(new URL('../src', import.meta.url))) {
    const { stalePartsOf, staleText } = await import('./stale-build.js')
    for (const part of stalePartsOf(fileURLToPath(new URL('..', import.meta.url))))
      console.error(`choir: ${staleText(part)}`)
  }
  import(main.href)
    .then(({ runProcess }) => runProcess())
    .catch((error) => {
      if (error.code !== 'EMFILE') throw error
      console.error(
        'choir: it may open too few files to load its modules (raise the limit, such as with: ulimit -n 1024)',
      )
      process.exit(1)
    })
}
