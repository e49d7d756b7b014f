/** Starts `choir watch` on a folder as a child process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileIn } from './results.ts'

export interface WatchServer {
  readonly address: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

export async function startWatching(folder: string): Promise<WatchServer> {
  const server = spawn(process.execPath, [fileIn('bin/choir.js'), 'watch', folder, '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string]
  const { address } = JSON.parse(line) as { address: string }
  return {
    address,
    pid: server.pid ?? 0,
    async stop() {
      server.kill('SIGINT')
      await once(server, 'exit')
    },
  }
}
