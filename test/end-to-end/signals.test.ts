/**
 * One SIGTERM or SIGINT ends a training before its first step, and a dashboard, whatever they are doing.
 *
 * @slow
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import { randomFor } from '../../src/core/random.ts'
import { ChoirProcess, expectSuccess, metrics, results, Workspace } from './support.ts'

/** Longest time to end: a second, and more on a busy machine, where a start is slow too. Each phase takes several. */
let limitMs = 1000

let workspace: Workspace
/** Text of words that hardly repeat, the slowest for a tokenizer. */
let words: string
/** Half a megabyte of the same kind of text. */
let shorter: string
beforeAll(async () => {
  workspace = new Workspace()
  const began = performance.now()
  await workspace.choir('--version')
  limitMs += 5 * (performance.now() - began)
  for (let i = 0; i < 5000; i++) mkdirSync(workspace.file('tree', `${i % 50}`, `${i}`), { recursive: true })
  words = workspace.file('words.txt')
  const random = randomFor(1, 'words')
  const line = () => Array.from({ length: 12 }, () => random.integer(2 ** 32).toString(36)).join(' ')
  const text = Array.from({ length: 5000 }, line).join('\n')
  shorter = workspace.file('shorter.txt')
  writeFileSync(shorter, text)
  for (let i = 0; i < 30; i++)
    writeFileSync(
      words,
      text.replaceAll(/\w\b/g, (end) => `${end}${i}`),
      { flag: 'a' },
    )
})
afterAll(() => workspace.remove())

/** Sends a signal, and expects the process to end in time. */
async function stops(running: ChoirProcess, signal: NodeJS.Signals): Promise<{ code: number | null; stderr: string }> {
  const began = performance.now()
  running.kill(signal)
  const ended = await running.ended
  expect(performance.now() - began, ended.stderr).toBeLessThan(limitMs)
  return ended
}

function startTraining(name: string, overrides: RunInput): [ChoirProcess, string] {
  const run = workspace.file(name)
  return [workspace.start('train', workspace.config(overrides), '--out', run, '--json'), run]
}

// Both signals reach the same handler (src/node/interrupts has a test of each), so each phase has one of them.
describe.skipIf(process.platform === 'win32')('before the first step, or in a dashboard', () => {
  const isLocked = (run: string) => expect.poll(() => existsSync(join(run, '.lock')), { interval: 10 }).toBe(true)
  const stopsBeforeSteps = async (running: ChoirProcess, run: string, signal: NodeJS.Signals): Promise<void> => {
    const { code, stderr } = await stops(running, signal)
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('stopped after step 0') })
    expect(readdirSync(run)).not.toContain('.lock')
  }

  test('SIGTERM ends the search for files of a glob', async () => {
    const [running, run] = startTraining('glob', { data: { source: workspace.file('tree', '**', '*', '**', '*.txt') } })
    await isLocked(run)
    await delay(200)
    await stopsBeforeSteps(running, run, 'SIGTERM')
  })

  test('SIGINT ends the wait for standard input', async () => {
    const run = workspace.file('input')
    const args = ['train', workspace.config(), '--data', '-', '--out', run, '--json']
    const command = { command: 'bash', args: ['-c', 'exec "$@" < <(exec sleep 60 2> /dev/null)', 'bash'], env: {} }
    const running = new ChoirProcess(args, workspace.path, command)
    await isLocked(run)
    await delay(300)
    await stopsBeforeSteps(running, run, 'SIGINT')
  })

  test.each([
    ['SIGTERM', 'reading', 300],
    ['SIGINT', 'training a tokenizer', 100],
    ['SIGTERM', 'training a tokenizer', 2500],
    ['SIGINT', 'tokenizing', 200],
  ] as const)('%s ends %s (after %i ms)', async (signal, phase, after) => {
    const isTokenizing = phase === 'tokenizing'
    const tokenizer = { kind: isTokenizing ? ('bytes' as const) : ('bpe' as const) }
    const cache = workspace.file(`${phase}-${after}-cache`)
    const [running, run] = startTraining(`${phase}-${after}`, {
      model: { vocabulary: 20_000 },
      data: { source: words, tokenizer, cache },
    })
    const isPhase = (message: unknown) => String(message).startsWith(isTokenizing ? 'reading' : phase)
    await running.line(({ kind, message }) => kind === 'prepare' && isPhase(message))
    await delay(after)
    await stopsBeforeSteps(running, run, signal)
  })

  test('SIGTERM ends compiling, and drawing parameters', async () => {
    const model = { layers: 4, width: 512, hidden: 2048, moe: { experts: 12, hidden: 2048 } }
    const [running, run] = startTraining('compiling', { model })
    await running.line(({ message }) => message === 'compiling the model')
    await delay(100)
    await stopsBeforeSteps(running, run, 'SIGTERM')
  })

  test('SIGINT ends a dashboard that reads large logs', async () => {
    const runs = workspace.file('runs')
    const record = { kind: 'train', tokens: 1, loss: 2, grad_norm: 1, learning_rate: 1e-3, step_ms: 10 }
    const log = Array.from({ length: 150_000 }, (_, i) => JSON.stringify({ ...record, step: i + 1 })).join('\n')
    for (let i = 0; i < 8; i++) {
      mkdirSync(join(runs, `${i}`), { recursive: true })
      writeFileSync(join(runs, `${i}`, 'config.json'), JSON.stringify({ model: {}, train: { steps: 200_000 } }))
      writeFileSync(join(runs, `${i}`, 'metrics.jsonl'), `${log}\n`)
    }
    const running = workspace.start('watch', runs, '--port', '0', '--json')
    await running.line(({ kind }) => kind === 'watch')
    await delay(200)
    expect((await stops(running, 'SIGINT')).code).toBe(0)
  })
})

// An evaluation takes long to reach, so each of these has one of the signals.
describe.skipIf(process.platform === 'win32')('a long evaluation', () => {
  test.each([
    [2, 'SIGTERM'],
    [4, 'SIGINT'],
  ] as const)('after step 2 of %i ends by %s, and is made when the run is resumed', async (steps, signal) => {
    const [whole, config] = [workspace.file(`whole-${steps}`), { steps, evalEvery: 2, checkpointEvery: 1 }]
    // An evaluation of all held-out text takes many seconds.
    const over = { data: { source: shorter, heldOut: 0.5 }, train: { ...config, evalBatches: 3 } }
    await expectSuccess(workspace.start('train', workspace.config(over), '--out', whole))
    const [running, run] = startTraining(`evaluation-${steps}`, { ...over, train: { ...config, evalBatches: 0 } })
    await running.step(2)
    await delay(200)
    expect((await stops(running, signal)).stderr).toContain('stopped after step 2; continue with')
    expect(metrics(run).map(({ kind }) => kind)).toEqual(['train', 'train'])
    for (let i = 0; i < 2; i++)
      await expectSuccess(workspace.start('train', '--resume', run, '--set', 'train.evalBatches=3'))
    expect(results(run)).toEqual(results(whole))
  })

  test('of `choir eval` ends by SIGINT', async () => {
    const running = workspace.start('eval', workspace.file('whole-2'), '--data', words)
    await delay(limitMs)
    expect((await stops(running, 'SIGINT')).code).toBe(130)
  })
})
