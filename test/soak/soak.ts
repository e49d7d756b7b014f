/**
 * Runs random tests with many more cases than the suite, and reports how many they tried:
 *
 *     npm run soak -- [--kills 1000] [--inputs 10000] [--requests 100000] [--seed N] [--out FILE]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { grouped } from '../../src/core/text/numbers.ts'
import { expectWritable } from '../../src/node/system/output-file.ts'
import { attempts } from '../support/soak.ts'

/** Numbers of cases of test/fuzz in the suite. */
const suite = { inputs: 3600, requests: 360 }

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    inputs: { type: 'string', default: '10000' },
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    out: { type: 'string' },
  },
})
if (values.out !== undefined) await expectWritable('--out', values.out)

const scratch = mkdtempSync(join(tmpdir(), 'choir-soak-'))
const counts = join(scratch, 'counts.csv')
writeFileSync(counts, '')
const began = performance.now()
const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))
const { status } = spawnSync(process.execPath, [vitest, 'run', '--config', 'test/soak/vitest.config.ts'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    CHOIR_TEST_SEED: values.seed,
    CHOIR_SOAK_COUNTS: counts,
    CHOIR_SOAK_KILLS: values.kills,
    CHOIR_SOAK_INPUTS: String(Math.max(1, Number(values.inputs) / suite.inputs)),
    CHOIR_SOAK_REQUESTS: String(Math.max(1, Number(values.requests) / suite.requests)),
  },
})

const totals: Record<string, number> = Object.fromEntries(attempts.map((attempt) => [attempt, 0]))
for (const line of readFileSync(counts, 'utf8').split('\n').slice(0, -1)) {
  const [attempt = '', cases] = line.split(',')
  totals[attempt] = (totals[attempt] ?? 0) + Number(cases)
}
rmSync(scratch, { recursive: true, force: true })
const result = {
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.version}`,
  seed: Number(values.seed),
  minutes: Math.round((performance.now() - began) / 6000) / 10,
  attempts: totals,
  passed: status === 0,
}
for (const [attempt, cases] of Object.entries(totals)) console.log(`${grouped(cases).padStart(9)}  ${attempt}s`)
console.log(`${status === 0 ? 'none' : 'some'} broke a promise, in ${result.minutes} minutes, with seed ${values.seed}`)
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`)
process.exitCode = status ?? 1
