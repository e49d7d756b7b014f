import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test, vi } from 'vitest'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import { makeTemporaryFolder, sweepLeftovers } from './temporary-folders.ts'
import { eventually } from './testing/eventually.ts'

/** The boot id differs between machines with the same host name, and between boots of one machine. */
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
  'a folder of a process on another machine with the same host name stays, though no process here has its id',
  async () => {
    const root = temporary.make()
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    vi.spyOn(process, 'pid', 'get').mockReturnValue(pid)
    const foreign = await makeTemporaryFolder(root, 'scratch')
    machine.boot = 'another'
    await sweepLeftovers(root)
    expect(readdirSync(root)).toEqual([basename(foreign)])
    machine.boot = 'one'
    await sweepLeftovers(root)
    expect(readdirSync(root)).toEqual([])
  },
)

test.runIf(process.platform === 'linux')(
  'a folder of a killed process is removed, even if the parent of that process never notices its end',
  async () => {
    const root = temporary.make()
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 20'], { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string]
      vi.spyOn(process, 'pid', 'get').mockReturnValue(Number(line))
      await makeTemporaryFolder(root, 'scratch')
      await eventually(async () => {
        await sweepLeftovers(root)
        expect(readdirSync(root)).toEqual([])
      })
    } finally {
      parent.kill('SIGKILL')
    }
  },
)

test.runIf(process.platform === 'linux')(
  'a folder of an ended process is removed though a living process has the same id, whose own folder stays',
  async () => {
    const root = temporary.make()
    const own = basename(await makeTemporaryFolder(root, 'building'))
    // This folder belongs to an earlier process with the id of this one, as in a container that is restarted.
    const [, owner, pid] = own.split('-')
    mkdirSync(join(root, `.building-${owner}-${pid}-00000000-abcdef`))
    await sweepLeftovers(root)
    expect(readdirSync(root)).toEqual([own])
  },
)
