/** The worker that trains. */
import './no-eval.ts'
import '../../src/library/web-worker.ts'
