/**
 * Serves the page on which a visitor trains a small model in the browser (web/play). The page requests nothing but its
 * files.
 */

import { type PageServer, type ServerAddress, serve } from '../../http/serve.ts'
import { builtPage, readPage } from './page.ts'
import { createSite, pageService } from './site.ts'

/**
 * Serves the page to browsers of this machine, until it is closed. (WebGPU is only for pages from https or localhost.)
 * @throws UsageError if the port cannot be used
 * @throws RunError if the page is not built
 */
export async function startPlay(address: Pick<ServerAddress, 'port'> = {}): Promise<PageServer> {
  const page = await readPage(builtPage('play'))
  return serve(address, pageService, (access) => createSite(page, access))
}
