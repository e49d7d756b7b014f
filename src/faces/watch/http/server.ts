/** Starts the dashboard's HTTP server for folders of runs. */
import { Cleanup } from '../../../core/cleanup.ts'
import { checkAccess, type PageServer, type ServerAddress, serve } from '../../http/serve.ts'
import { WatchedCollection } from '../runs/collection.ts'
import { realDataPath } from '../runs/confined.ts'
import { TraceProcesses } from '../tracing/processes.ts'
import { RunTracing } from '../tracing/tracing.ts'
import { createApp, type Watched } from './app.ts'
import { builtPage, createSite, type Page, pageService, readPage } from './site.ts'

export interface WatchOptions extends ServerAddress {
  /** Run directories, or folders of them. */
  readonly roots: readonly string[]
  /** Files and folders outside the roots with texts that runs were trained on. */
  readonly data?: readonly string[]
}

/**
 * Serves folders of runs until the server is closed.
 * @throws UsageError if a folder does not exist, or host, port or token cannot be used
 * @throws RunError if the page is not built
 */
export async function startWatch({ roots, data = [], ...address }: WatchOptions): Promise<PageServer> {
  checkAccess(address, pageService)
  const cleanup = new Cleanup()
  try {
    const page = await readPage(builtPage('web'))
    const collection = await WatchedCollection.open(roots)
    cleanup.defer(() => collection.close())
    const readable = await Promise.all([...roots, ...data].map(realDataPath))
    const server = await serveWatched(collection, page, address, readable)
    cleanup.defer(() => server.close())
    return { address: server.address, close: () => cleanup.run() }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

/**
 * Serves an open collection, which the caller closes.
 * @param readable Real paths from which models and their texts may be read
 */
export async function serveWatched(
  collection: Watched,
  page: Page,
  address: ServerAddress,
  readable: readonly string[] = [],
): Promise<PageServer> {
  const processes = new TraceProcesses(readable)
  return serve(address, pageService, (access) => {
    const app = createApp({ collection, tracing: new RunTracing(processes), page, access })
    return {
      fetch: app.fetch,
      async close() {
        app.close()
        await processes.close()
      },
    }
  })
}

/**
 * Serves the page to browsers of this machine, until it is closed. (WebGPU is only for pages from https or localhost.)
 * @throws UsageError if the port cannot be used
 * @throws RunError if the page is not built
 */
export async function startPlay(address: Pick<ServerAddress, 'port'> = {}): Promise<PageServer> {
  const page = await readPage(builtPage('play'))
  return serve(address, pageService, (access) => createSite(page, access))
}
