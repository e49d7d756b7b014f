/** Serves models by HTTP, in the shape of OpenAI's API. */
import { Cleanup } from '../../core/cleanup.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import type { ModelChoice } from '../../use/runs/trained-model.ts'
import { checkAccess, type PageServer, type ServerAddress, type Service, serve } from '../http/serve.ts'
import { ApiError, bodyOf } from './api-error.ts'
import { createServeApp, type ServeApp, stopping } from './app.ts'
import { Limiter } from './limiter.ts'
import { idsOf, openServedModel, type ServedModel } from './served-model.ts'

export interface ServeOptions extends ServerAddress, Omit<ModelChoice, 'math'> {
  /** Runs, folders of transformers, or GGUF files. */
  readonly models: readonly string[]
  /** Number of texts that are written at the same time, for each model. Default: 4. */
  readonly streams?: number
  /**
   * Memory for the keys and values of all texts of a model, in bytes; a text waits until there is room for all of it.
   * Default: whole contexts for all texts.
   */
  readonly contextMemory?: number
  /** Number of texts that may wait for a place, for each model. Default: 64. */
  readonly queue?: number
  /** Seconds that running requests have to end after the server was asked to stop. Default: 10. */
  readonly grace?: number
  readonly onMessage?: OnMessage
  /** When it is aborted, loading ends with its reason. */
  readonly signal?: AbortSignal
}

export interface ModelServer extends PageServer {
  readonly models: readonly { readonly id: string; readonly directory: string; readonly step: number }[]
}

/** Time for the last bytes of responses, after their texts have ended. */
const FAREWELL_MS = 1000

const service: Service = {
  firstPort: 8000,
  allows: 'use these models',
  problem: (message) => bodyOf(new ApiError(400, message)),
}

/**
 * Serves models until the server is closed.
 * @throws UsageError if there is no such model, its places do not fit into the memory, or host, port or token cannot be
 * used
 */
export async function startServe({
  models: directories,
  host,
  port,
  token,
  streams = 4,
  contextMemory,
  queue = 64,
  grace = 10,
  onMessage = () => {},
  signal = new AbortController().signal,
  ...choice
}: ServeOptions): Promise<ModelServer> {
  const address = {
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(token !== undefined && { token }),
  }
  checkAccess(address, service)
  const ids = idsOf(directories)
  const cleanup = new Cleanup()
  const models: ServedModel[] = []
  try {
    // The port is bound first: that it is taken is known before large models are loaded.
    const { site, server } = await open(address)
    cleanup.defer(async () => {
      // Clients get the reason why their texts end.
      await site.measured.idle(FAREWELL_MS)
      await server.close()
    })
    // Models use the processor in turns.
    const turns = new Limiter(1)
    for (const [i, directory] of directories.entries()) {
      const id = ids[i] as string
      const model = await openServedModel(directory, id, {
        ...{ ...choice, streams, contextMemory, queue, onMessage, signal },
        turn: (work) => turns.run(work),
        onComputed: (computed) => site.measured.computed(id, computed),
      })
      models.push(model)
      cleanup.defer(() => model.close(stopping()))
    }
    site.serveModels(models)
    return {
      address: new URL('/v1', server.address).href,
      models: models.map(({ id, model: { directory, step } }) => ({ id, directory, step })),
      async close() {
        await site.drain(grace * 1000)
        await cleanup.run()
      },
    }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

async function open(address: ServerAddress): Promise<{ site: ServeApp; server: PageServer }> {
  let site: ServeApp | undefined
  const server = await serve(address, service, (access) => {
    site = createServeApp(access)
    return site
  })
  return { site: site as ServeApp, server }
}
