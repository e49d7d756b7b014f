import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { isAlive, isRunning, processStart } from './process-identity.ts'
import { eventually } from './testing/eventually.ts'

test.skipIf(process.platform !== 'linux')(
  'a process that has ended is not running, even if its parent never notices',
  async () => {
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 20'], { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string]
      const child = Number(line)
      await eventually(async () => expect(await isRunning(child, null)).toBe(false))
      expect(isAlive(child)).toBe(true)
      const pid = parent.pid as number
      expect(await isRunning(pid, await processStart(pid))).toBe(true)
      expect(await isRunning(pid, 'another start')).toBe(false)
    } finally {
      parent.kill('SIGKILL')
    }
  },
)
