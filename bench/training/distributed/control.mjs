/** The counterpart of world.ts in a rank: connects to its socket, and answers commands until the socket closes. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'

/** @param answerOf Returns the answer to a command. */
export async function serve(path, hello, answerOf) {
  const socket = createConnection(path)
  await once(socket, 'connect')
  const send = (message) => socket.write(`${JSON.stringify(message)}\n`)
  send(hello)
  for await (const line of createInterface({ input: socket })) send(await answerOf(JSON.parse(line)))
}

/** Bytes that the network of this machine has counted, headers included; zeros without a link. */
export function linkBytes() {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((text) => text.trim().startsWith('eth0:'))
  const fields = line?.split(':')[1].trim().split(/\s+/).map(Number) ?? []
  return { sent: fields[8] ?? 0, received: fields[0] ?? 0 }
}
