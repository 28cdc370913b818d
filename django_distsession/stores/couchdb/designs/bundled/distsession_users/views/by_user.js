// Sessions in which somebody is logged in, by user and time of creation. A time that is none is null.
function (doc) {
  function number(value) {
    return typeof value === "number" ? value : null;
  }
  if (doc.type === "session" && !doc.ended && doc.user !== null) {
    emit(
      [doc.user, number(doc.created_at)],
      [number(doc.created_at), number(doc.updated_at), number(doc.expires_at)]
    );
  }
}
