/**
 * Run directories that vanish, that two processes want to use, or whose names and file systems are unusual.
 *
 * @slow
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, expectSuccess, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

test.skipIf(process.platform === 'win32')(
  'a run directory that is removed during the training ends it with 1, and nothing of it comes back',
  async () => {
    const run = workspace.file('removed')
    const config = workspace.config({ train: { steps: 100_000, checkpointEvery: 100_000, evalEvery: 100_000 } })
    const running = workspace.start('train', config, '--out', run, '--json')
    await running.step(20)
    rmSync(run, { recursive: true })
    running.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(1)
    expect(stderr).toContain(`cannot write checkpoint into ${run}: it was removed, or is no longer mounted`)
    expect(stderr).not.toContain('    at ')
    expect(existsSync(run)).toBe(false)
  },
)

test.skipIf(process.platform === 'win32').each(['train.bin', 'held-out.bin'])(
  'tokens that vanish from the cache during the training end it with 1 and a message: %s',
  async (name) => {
    const cache = workspace.file(`cache of ${name}`)
    const often = { steps: 100_000, checkpointEvery: 100_000, evalEvery: 10 }
    const config = workspace.config({ train: often, data: { cache } })
    const running = workspace.start('train', config, '--out', workspace.file(`without ${name}`), '--json')
    await running.step(20)
    const [entry = ''] = readdirSync(cache).filter((entry) => entry.startsWith('tokens-'))
    truncateSync(`${cache}/${entry}/${name}`, 100)
    const { code, stderr } = await running.ended
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^choir: .*\.bin was truncated while in use; start again to rebuild it\n$/),
    })
  },
)

test('two trainings that start at once on a cold cache both run, and the cache holds each entry once', async () => {
  const data = { tokenizer: { kind: 'bpe' as const }, cache: workspace.file('cold') }
  const config = workspace.config({ model: { vocabulary: 300 }, train: { steps: 2 }, data })
  const runs = ['first', 'second'].map((name) => workspace.start('train', config, '--out', workspace.file(name)))
  await Promise.all(runs.map(expectSuccess))
  expect(
    readdirSync(workspace.file('cold'))
      .map((name) => name.split('-')[0])
      .sort(),
  ).toEqual(['tokenizer', 'tokens'])
})

test.skipIf(process.platform === 'win32')('a run may have any name that the system allows', async () => {
  const config = workspace.config({ train: { steps: 2 } })
  const names = [`-new\nline ünï 日本 🎶 "quote'`, 'n'.repeat(255)]
  await Promise.all(
    names.map(async (name) => {
      const run = workspace.file('names', name)
      await expectSuccess(workspace.start('train', config, '--out', run))
      await expectSuccess(workspace.start('train', '--resume', run, '--set', 'train.steps=3'))
      expect(checkpointsOf(run)).toContain('step-00000003')
    }),
  )
  const { code, stderr } = await workspace.choir('train', config, '--out', workspace.file('names', 'n'.repeat(256)))
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^choir: cannot read .*ENAMETOOLONG.*\n$/),
  })
})

const disk = () => workspace.file('disk')
const mountable = (): boolean => {
  mkdirSync(disk())
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'choir', disk()]).status === 0
}

test.skipIf(process.platform !== 'linux')('a run on a read-only disk can only be evaluated', async ({ skip }) => {
  if (!mountable()) return skip('this user cannot mount a file system')
  try {
    const config = workspace.config({ train: { steps: 2 } })
    await expectSuccess(workspace.start('train', config, '--out', workspace.file('run')))
    cpSync(workspace.file('run'), `${disk()}/run`, { recursive: true })
    execFileSync('mount', ['-o', 'remount,ro', disk()])
    await expectSuccess(workspace.start('eval', `${disk()}/run`))
    for (const args of [
      ['train', '--resume', `${disk()}/run`, '--set', 'train.steps=3'],
      ['train', config, '--out', `${disk()}/new`],
      ['bench', '--shape', 'tiny', '--out', `${disk()}/bench.json`],
    ]) {
      const { code, stderr } = await workspace.choir(...args)
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/^choir: .*EROFS: read-only file system/),
      })
      expect(stderr).not.toContain('    at ')
    }
  } finally {
    execFileSync('umount', [disk()])
  }
})
