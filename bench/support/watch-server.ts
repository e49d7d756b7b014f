/** Starts `choir watch` on a folder, or `choir play`, as a child process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileIn } from './results.ts'

export interface WatchServer {
  readonly address: string
  readonly pid: number
  readonly stop: () => Promise<void>
}

export const startWatching = (folder: string): Promise<WatchServer> => serve('watch', folder)
export const startPlaying = (): Promise<WatchServer> => serve('play')

async function serve(...command: readonly string[]): Promise<WatchServer> {
  const server = spawn(process.execPath, [fileIn('bin/choir.js'), ...command, '--port', '0', '--json'], {
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
