/**
 * Kills processes at random instants, over engines, optimizers and routers, as studies, and on disks that fill up. The
 * runs that they leave are continued until they are done, and have the results of a run that nobody killed.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Random, randomFor } from '../../src/core/random.ts'
import type { RunRecord } from '../../src/tools/study/contract.ts'
import { readStored } from '../../src/tools/study/testing/stored.ts'
import { type ChoirProcess, expectSuccess, results, Workspace } from '../end-to-end/support.ts'
import { killCases } from '../support/kill-cases.ts'
import { count } from '../support/soak.ts'

const seed = Number(process.env.CHOIR_TEST_SEED ?? Date.now() % 1_000_000)
const kills = Number(process.env.CHOIR_SOAK_KILLS ?? 1000)

const engines: Record<string, string | undefined> = { 'oneDNN, if it is installed': undefined, 'ONNX Runtime': 'off' }
/** Number of tests that share the kills: one for each training and engine, one of studies, and one of full disks. */
const shares = Object.keys(killCases).length * Object.keys(engines).length + 2
const share = Math.ceil(kills / shares)

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
  console.info(`seed ${seed}`)
})
afterAll(() => workspace.remove())

const settings = { steps: 40, checkpointEvery: 3, evalEvery: 10, routingEvery: 1 } as const

/**
 * Starts a process again and again, which is then killed or asked to stop, until it ends by itself. Now and then it is
 * paused before.
 * @param within Kills come within this time after the start, ms.
 * @param most Largest number of kills and requests to stop.
 * @param allowed Messages of failures that are allowed.
 * @returns Number of kills and requests to stop.
 */
async function killUntilDone(
  start: () => ChoirProcess,
  random: Random,
  within: number,
  most: number,
  allowed: RegExp | null = null,
): Promise<number> {
  for (let killed = 0; ; ) {
    const running = start()
    let hasEnded = false
    const ended = running.ended.then((end) => {
      hasEnded = true
      return end
    })
    let sent: NodeJS.Signals | null = null
    if (killed < most) {
      const isPaused = random.integer(3) === 0
      await Promise.race([ended, delay(random.uniform() * within)])
      if (!hasEnded && isPaused) {
        running.kill('SIGSTOP')
        await delay(random.uniform() * 500)
        running.kill('SIGCONT')
        count('pause')
        await Promise.race([ended, delay(random.uniform() * within)])
      }
      if (!hasEnded) {
        sent = random.integer(3) === 0 ? 'SIGTERM' : 'SIGKILL'
        running.kill(sent)
        count(sent === 'SIGKILL' ? 'kill' : 'signal')
        killed++
      }
    }
    const { code, ...end } = await ended
    if (code === 0) return killed
    if (sent === 'SIGTERM' && code === 130) {
      expect(end.stderr).not.toMatch(/^ {4}at |internal/m)
      continue
    }
    // The warning about a checkpoint that a killed process was writing is expected.
    const stderr = end.stderr.replace(/^choir: skipping checkpoint .*\.writing: it is incomplete: .*\n/gm, '')
    // A process may be killed after the message and before it ends.
    if ((code === 1 || (code === null && sent !== null)) && allowed?.test(stderr)) count('full disk')
    else expect({ code, stderr, seed, killed }).toMatchObject({ code: null, stderr: '' })
  }
}

/** Milliseconds that an undisturbed process takes. Kills are spread over this time, however busy the machine is. */
async function timeOf(running: ChoirProcess): Promise<number> {
  const began = performance.now()
  await expectSuccess(running)
  return performance.now() - began
}

const placeOf = (config: string, run: string) =>
  existsSync(`${run}/config.json`) ? ['--resume', run] : [config, '--out', run]

for (const [engine, dnnl] of Object.entries(engines))
  for (const [name, over] of Object.entries(killCases))
    test(`a killed training has the results of a whole one: ${name}, by ${engine}`, async () => {
      if (dnnl !== undefined) process.env.CHOIR_DNNL = dnnl
      try {
        const config = workspace.config({ ...over, train: { ...settings, ...over.train } })
        const whole = workspace.file(`whole ${name} ${engine}`)
        const within = await timeOf(workspace.start('train', config, '--out', whole))
        const random = randomFor(seed, 'soak', `${name} ${engine}`)
        for (let killed = 0; killed < share; ) {
          const run = workspace.file(`killed ${name} ${engine}`)
          rmSync(run, { recursive: true, force: true })
          const start = () => workspace.start('train', ...placeOf(config, run))
          killed += await killUntilDone(start, random, within, share - killed)
          expect(results(run), `seed ${seed}`).toEqual(results(whole))
        }
      } finally {
        if (dnnl !== undefined) delete process.env.CHOIR_DNNL
      }
    })

test('a killed study has the losses of a whole one', async () => {
  const file = workspace.file('study.json')
  const set = { ...workspace.assignments(), 'train.steps': 30 }
  writeFileSync(
    file,
    JSON.stringify({ base: 'tiny', arms: { one: {}, two: { 'model.moe.k': 2 } }, seeds: [1, 2], set }),
  )
  const command = (out: string) => ['study', file, '--jobs', '2', '--out', workspace.file(out)]
  const losses = (out: string) => {
    const { records } = readStored<{ records: RunRecord[] }>(workspace.file(out))
    return records.map((record) => [record.key, record.status === 'finished' && record.heldOut.loss]).sort()
  }
  const within = await timeOf(workspace.start(...command('whole study')))
  const random = randomFor(seed, 'soak', 'study')
  for (let killed = 0; killed < share; ) {
    rmSync(workspace.file('killed study'), { recursive: true, force: true })
    killed += await killUntilDone(() => workspace.start(...command('killed study')), random, within, share - killed)
    expect(losses('killed study'), `seed ${seed}`).toEqual(losses('whole study'))
  }
})

/** A disk of limited size, which only root may mount. */
const disk = new Workspace('')
const options = (megabytes: number) => ['-o', `size=${megabytes}m`, 'choir', disk.path]
const isMountable = process.platform === 'linux' && spawnSync('mount', ['-t', 'tmpfs', ...options(2)]).status === 0
afterAll(() => {
  if (isMountable) execFileSync('umount', [disk.path])
  disk.remove()
})

test.skipIf(!isMountable)('a killed training on a disk that fills up has the results of a whole one', async () => {
  const config = workspace.config({ train: { ...settings, keep: 5 } })
  const whole = workspace.file('whole on a disk')
  const within = await timeOf(workspace.start('train', config, '--out', whole))
  const random = randomFor(seed, 'soak', 'disk')
  for (let killed = 0; killed < share; ) {
    const run = disk.file('runs', 'one')
    rmSync(run, { recursive: true, force: true })
    mkdirSync(disk.file('runs'), { recursive: true })
    const start = () => {
      const { blocks, bfree, bsize } = statfsSync(disk.path)
      const free = random.integer(2) === 0 ? 2 ** 26 : random.integer(2 ** 20)
      spawnSync('mount', ['-o', `remount,size=${(blocks - bfree) * bsize + free}`, disk.path])
      return workspace.start('train', ...placeOf(config, run))
    }
    killed += await killUntilDone(start, random, within, share - killed, /disk is full|no space left|ENOSPC/)
    expect(results(run), `seed ${seed}`).toEqual(results(whole))
  }
})
