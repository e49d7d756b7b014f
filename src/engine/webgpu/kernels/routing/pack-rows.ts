/**
 * Rows of kept choices, packed expert by expert. Each workgroup adds up by itself how many rows are before each expert and
 * group, which are few numbers, and places its own choices.
 */
import * as declared from '../../../../core/graph/kernels/pack-rows.ts'
import { gridOf, implement, WORKGROUP, workgroupMain } from '../contract.ts'
import { dispatchOf } from '../dispatch.ts'
import { bytesOfCall, heightOf, widthOf } from '../vectors.ts'

/** No two choices have the same row, and all rows before the unused rows have a choice. R is at most T·K. */
export const packRows = implement(declared.packRows, {
  lower({ attributes: { capacity }, inputs: { expert_TK, position_TK, kept_GN }, outputs }) {
    const [tokens, choices] = [heightOf(expert_TK), widthOf(expert_TK)]
    const [groups, experts] = [heightOf(kept_GN), widthOf(kept_GN)]
    const [count, rows] = [expert_TK.size, outputs.choiceOfRow_R.size]
    const grid = gridOf(Math.max(count, 1))
    const queues = experts * groups
    // Number of neighbouring queues, by expert and then by group, whose rows an invocation adds up.
    const run = Math.ceil(queues / WORKGROUP)
    const pack = dispatchOf({
      name: 'pack-rows',
      operands: {
        expert: expert_TK,
        position: position_TK,
        kept: kept_GN,
        sizes: outputs.sizes,
        row_of_choice: outputs.rowOfChoice_TK,
        choice_of_row: outputs.choiceOfRow_R,
        token_of_row: outputs.tokenOfRow_R,
        is_kept: outputs.kept_TK,
      },
      workgroups: grid,
      code: ({ expert, position, kept, sizes, row_of_choice, choice_of_row, token_of_row, is_kept }) => `
var<workgroup> rows_until: array<i32, ${WORKGROUP}>;
fn rows_of(queue: u32) -> i32 { return ${kept}[queue % ${groups}u * ${experts}u + queue / ${groups}u]; }
${workgroupMain(grid[0] * grid[1])} {
  var own = 0;
  for (var i = local * ${run}u; i < min((local + 1u) * ${run}u, ${queues}u); i++) { own += rows_of(i); }
  rows_until[local] = own;
  // Inclusive sums over invocations (Hillis and Steele 1986).
  for (var distance = 1u; distance < ${WORKGROUP}u; distance *= 2u) {
    workgroupBarrier();
    var before = 0;
    if (local >= distance) { before = rows_until[local - distance]; }
    workgroupBarrier();
    rows_until[local] += before;
  }
  workgroupBarrier();
  let used = u32(rows_until[${WORKGROUP - 1}]);
  if (row == 0u) {
    for (var n = local; n < ${experts}u; n += ${WORKGROUP}u) {
      var size = 0;
      for (var g = 0u; g < ${groups}u; g++) { size += rows_of(n * ${groups}u + g); }
      ${sizes}[n] = size;
    }
    if (local == 0u) { ${sizes}[${experts}] = ${rows} - i32(used); }
  }
  let choice = row * ${WORKGROUP}u + local;
  if (choice >= used && choice < ${rows}u) {
    ${choice_of_row}[choice] = 0;
    ${token_of_row}[choice] = 0;
  }
  if (choice >= ${count}u) { return; }
  let token = choice / ${choices}u;
  let queue = u32(${expert}[choice]) * ${groups}u + token / ${Math.max(1, tokens / groups)}u;
  let place = ${position}[choice];
  let fits = place < ${capacity};
  var start = 0;
  if (queue >= ${run}u) { start = rows_until[queue / ${run}u - 1u]; }
  for (var i = queue / ${run}u * ${run}u; i < queue; i++) { start += rows_of(i); }
  ${row_of_choice}[choice] = select(0, start + place, fits);
  ${is_kept}[choice] = select(0.0, 1.0, fits);
  if (fits) {
    ${choice_of_row}[start + place] = i32(choice);
    ${token_of_row}[start + place] = i32(token);
  }
}`,
    })
    return [pack]
  },
  work: (call) => ({ flops: 0, bytes: bytesOfCall(call) }),
})
