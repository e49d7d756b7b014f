import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test, vi } from 'vitest'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import { makePassing, sweepLeftovers } from './leftovers.ts'

/** What tells this machine, and its present start, from others of the same name. */
const machine = vi.hoisted(() => ({ boot: 'one' }))

vi.mock('node:fs', async (original) => {
  const actual = await original<typeof import('node:fs')>()
  return {
    ...actual,
    readFileSync: (...args: Parameters<typeof actual.readFileSync>) =>
      args[0] === '/proc/sys/kernel/random/boot_id' ? machine.boot : actual.readFileSync(...args),
  }
})

const temporary = temporaryFolder()

test.runIf(process.platform === 'linux')(
  'what is of a process on another machine of the same name stays, though that number is nobody here',
  async () => {
    const root = temporary.make()
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    vi.spyOn(process, 'pid', 'get').mockReturnValue(pid)
    const theirs = await makePassing(root, 'scratch')
    machine.boot = 'another'
    await sweepLeftovers(root)
    expect(readdirSync(root)).toEqual([basename(theirs)])
    machine.boot = 'one'
    await sweepLeftovers(root)
    expect(readdirSync(root)).toEqual([])
  },
)
