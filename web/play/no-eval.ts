/** Schemas are checked without code generated at run time, which the content security policy of the page forbids. */
import { config } from 'zod'

config({ jitless: true })
