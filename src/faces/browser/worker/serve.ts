/** The worker's side of the connection to a page. */
import { openBrowserRuntime } from '../open-runtime.ts'
import { browserStore } from '../storage/indexed-db.ts'
import { type FromWorker, type Port, type Request, sendError } from './messages.ts'
import { type Services, Session } from './session.ts'

/** The GPU and the storage of the browser. */
const inBrowser: Services = {
  openRuntime: openBrowserRuntime,
  openStore: browserStore,
}

/**
 * Answers the requests of a page, for the life of the worker.
 * @param page Port to the page: `globalThis` in a worker.
 */
export function serveTraining(page: Port, services: Services = inBrowser): void {
  const send = (message: FromWorker, transfer: ArrayBuffer[] = []) => page.postMessage(message, transfer)
  const session = new Session(services, (event) => send({ kind: 'event', event }))
  page.addEventListener('message', async ({ data }) => {
    const { id, command, input } = data as Request
    try {
      const output = await session.answer(command, input, id, (text) => send({ kind: 'piece', id, text }))
      // A zip file is transferred, not copied.
      send({ kind: 'answer', id, output }, output instanceof Uint8Array ? [output.buffer as ArrayBuffer] : [])
    } catch (error) {
      send({ kind: 'failure', id, error: sendError(error) })
    }
  })
}
