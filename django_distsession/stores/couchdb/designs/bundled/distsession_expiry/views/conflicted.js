// Sessions with branches that have to be merged. An end needs no merging: it wins.
function (doc) {
  if (doc.type === "session" && doc._conflicts && !doc.ended) {
    emit(doc._id, doc._deleted_conflicts || []);
  }
}
