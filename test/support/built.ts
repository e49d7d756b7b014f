/**
 * Runs before the suite: threads, WASM kernels and the program itself run from `dist/`, so an old build would be tested
 * instead. Parts of the build that are older than their sources are built; pages, which take long, are only named.
 */
import { execFileSync } from 'node:child_process'
import { stalePartsOf, staleText } from '../../bin/stale-build.js'

const builds: Readonly<Record<string, readonly (readonly string[])[]>> = {
  kernels: [['assemblyscript/bin/asc.js', '--config', 'src/engine/cpu/wasm/asconfig.json']],
  // Only code that runs is built: types are checked elsewhere, and declarations belong to a package.
  program: [
    ['typescript/bin/tsc', '-p', 'tsconfig.build.json', '--noCheck', '--declaration', 'false'],
    ['vite/bin/vite.js', 'build', '-c', 'program.vite.config.ts', '--logLevel', 'warn'],
  ],
}

export default function build(): void {
  for (const part of stalePartsOf('.')) {
    const commands = builds[part.name]
    if (commands === undefined) console.warn(`\n${staleText(part)}\n`)
    else console.warn(`\n${part.source} is newer than the ${part.name} in dist/: building\n`)
    for (const [program, ...args] of commands ?? [])
      execFileSync(process.execPath, [`node_modules/${program}`, ...args], { stdio: 'inherit' })
  }
}
