// Sessions with branches that have to be merged before one knows whose they are.
function (doc) {
  if (doc.type === "session" && doc._conflicts && !doc.ended) {
    emit(doc._id, typeof doc.updated_at === "number" ? doc.updated_at : null);
  }
}
