/**
 * Full disks: file systems of a few kB or MB in memory, which only root on Linux may mount. For other systems
 * src/node/run/checkpoint/checkpoint.test.ts tests checkpoints with a simulated disk.
 *
 * @slow
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { samples } from '../../src/use/foreign/testing/samples.ts'
import { writeFolder } from '../interchange/folders.ts'
import { checkpointsOf, expectSuccess, results, trainRecords, Workspace } from './support.ts'

const probe = new Workspace('')
const mountable =
  process.platform === 'linux' &&
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'choir', probe.path]).status === 0 &&
  spawnSync('umount', [probe.path]).status === 0
probe.remove()
if (!mountable) console.info('full disk: skipped, this user cannot mount a file system of limited size')

let workspace: Workspace
let disk: string
beforeAll(() => {
  workspace = new Workspace()
  disk = workspace.file('disk')
  mkdirSync(disk)
})
afterAll(() => workspace.remove())

const mounted = async (options: string, body: () => Promise<void>) => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'choir', disk])
  try {
    await body()
  } finally {
    execFileSync('umount', [disk])
  }
}

test.skipIf(!mountable)('a full disk at a checkpoint ends with code 1, and the run continues with the same bits', () =>
  mounted('size=2m', async () => {
    // A checkpoint takes 57,800 parameters × 3 × 4 bytes = 0.6 MiB: three fit, four do not.
    const config = workspace.config({ train: { checkpointEvery: 3, keep: 5 } })
    const whole = workspace.file('whole')
    await expectSuccess(workspace.start('train', config, '--out', whole))
    const run = `${disk}/run`
    const { code, stderr } = await workspace.choir('train', config, '--out', run)
    expect(code).toBe(1)
    expect(stderr).toMatch(/cannot write checkpoint .*step-\d+: the disk is full \([\d.]+ kB needed, .* free now\)/)
    expect(stderr).toContain('Earlier checkpoints are intact')
    expect(stderr).not.toContain('    at ')
    const left = checkpointsOf(run)
    expect(left.length).toBeGreaterThanOrEqual(2)
    expect(left.every((name) => /^step-\d+$/.test(name))).toBe(true)

    const evaluated = await expectSuccess(workspace.start('eval', run, '--json'))
    expect(JSON.parse(evaluated.stdout).step).toBe(Number(left.at(-1)?.slice(5)))

    execFileSync('mount', ['-o', 'remount,size=16m', disk])
    await expectSuccess(workspace.start('train', '--resume', run))
    expect(results(run)).toEqual(results(whole))
  }),
)

test.skipIf(!mountable)(
  'a full disk while the tokenizer or the tokens are written ends with code 1 and leaves no run: the same command works later',
  async () => {
    const data = { tokenizer: { kind: 'bpe' as const }, cache: `${disk}/cache` }
    const config = workspace.config({ model: { vocabulary: 300 }, train: { steps: 2 }, data })
    const run = workspace.file('runs', 'started')
    // On the first disk nothing fits, on the second the folder of the tokenizer, and on the third the tokenizer too.
    for (const options of ['nr_inodes=3', 'size=4k', 'size=40k'])
      await mounted(options, async () => {
        const { code, stderr } = await workspace.choir('train', config, '--out', run)
        expect({ code, stderr }).toEqual({
          code: 1,
          stderr: expect.stringMatching(
            /^choir: no space left in \S+ for the token(s|izer); free some, or set data.cache to a folder with more\n$/,
          ),
        })
        expect(existsSync(workspace.file('runs'))).toBe(false)
        if (options !== 'size=40k') return
        execFileSync('mount', ['-o', 'remount,size=16m', disk])
        await expectSuccess(workspace.start('train', config, '--out', run))
      })
  },
)

test.skipIf(!mountable)('a full disk of the run before its first step ends with code 1, and other files stay', () =>
  mounted('size=16k', async () => {
    writeFileSync(`${disk}/notes.txt`, 'x')
    const config = workspace.config()
    const { code, stderr } = await workspace.choir('train', config, '--out', `${disk}/run`)
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/cannot .*: the disk is full/) })
    expect(readdirSync(disk)).toEqual(['notes.txt'])
  }),
)

test.skipIf(!mountable)(
  'a disk that fills up between checkpoints stops the run, and the last line of the log is complete',
  () =>
    mounted('size=4m', async () => {
      const run = `${disk}/run`
      const config = workspace.config({ train: { steps: 100_000, checkpointEvery: 10, keep: 1, evalEvery: 100_000 } })
      const running = workspace.start('train', config, '--out', run, '--json')
      await running.step(25)
      // Other files fill the remaining space, down to 4 KiB.
      for (let size = 4 << 20; size >= 4096; size >>= 1)
        try {
          writeFileSync(`${disk}/other-${size}`, new Uint8Array(size))
        } catch {}
      const { code, stderr } = await running.ended
      expect(code).toBe(1)
      expect(stderr).toMatch(/cannot write .*: the disk is full/)
      const records = trainRecords(run)
      expect(records.map(({ step }) => step)).toEqual(records.map((_, i) => i + 1))
      for (let size = 4 << 20; size >= 4096; size >>= 1) rmSync(`${disk}/other-${size}`, { force: true })
      const steps = (records.at(-1)?.step as number) + 5
      await expectSuccess(workspace.start('train', '--resume', run, '--set', `train.steps=${steps}`, '--json'))
      expect(trainRecords(run).at(-1)?.step).toBe(steps)
    }),
)

test.skipIf(!mountable)('a full disk at an import ends with code 1, and nothing is left', () =>
  mounted('size=64k', async () => {
    // The model takes 57.3 kB in float32, and its folder needs pages of its own.
    writeFolder(workspace.file('model'), samples.llama ?? {})
    writeFileSync(`${disk}/other`, new Uint8Array(16_384))
    const { code, stdout, stderr } = await workspace.choir('import', 'model', '--out', `${disk}/run`)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/cannot write .*run: the disk is full \([\d.]+ kB needed, .*\). Nothing was left behind/)
    expect(readdirSync(disk)).toEqual(['other'])
  }),
)

test.skipIf(!mountable)('a disk without inodes ends with code 1 and this reason, and nothing is lost', async () => {
  const config = workspace.config({ train: { steps: 4, checkpointEvery: 2, schedule: { warmup: 1 } } })
  const run = `${disk}/run`
  // The disk's own folder takes an inode, the run's folder another. A new run then writes a lock, small files and logs.
  for (const inodes of [2, 4, 6, 7, 8])
    await mounted(`size=16m,nr_inodes=${inodes}`, async () => {
      const { code, stderr } = await workspace.choir('train', config, '--out', run)
      expect({ inodes, code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/^choir: cannot .*\n$/) })
      expect(readdirSync(disk)).toEqual([])
    })
  await mounted('size=16m,nr_inodes=12', async () => {
    const { code, stderr } = await workspace.choir('train', config, '--out', run)
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /cannot write checkpoint .*: the disk has no room for another file: all inodes are used\. Earlier checkpoints/,
      ),
    })
    expect(readdirSync(run)).toContain('metrics.jsonl')
  })
})
