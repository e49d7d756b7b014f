/** Checks of a router in a file, with runtimes of its own. */
import { createRuntime } from '../../engine/cpu/cpu-runtime.ts'
import { loadRouter } from '../../node/run/own-router.ts'
import { checkRouter, type RouterCheck } from './check-router.ts'

/** @throws UsageError if the file cannot be read, is no router, or its functions return something else than choices */
export async function checkRouterFile(file: string): Promise<RouterCheck> {
  const own = await loadRouter(file)
  const [one, two] = await Promise.all([createRuntime({ threads: 1 }), createRuntime({ threads: 2 })])
  try {
    return await checkRouter(own, { one, two })
  } finally {
    await Promise.all([one.close(), two.close()])
  }
}
